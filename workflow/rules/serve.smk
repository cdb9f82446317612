# The models on a server, for clients of one's own; nothing is measured.


rule serve:
    input:
        models=rules.export.input,
        weights=WEIGHTS,
    log:
        f"{RESULTS}/logs/serve.log",
        server=f"{RESULTS}/logs/serve.server.log",
    conda:
        ENVIRONMENT
    threads: ALL_CORES
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        pipeline=config["pipeline"],
        server=config["server"],
        repository=lambda wildcards, input: os.path.commonpath(input.models),
    message:
        "Serving the models of {MODEL_REPO}"
    script:
        "../scripts/serve.py"
