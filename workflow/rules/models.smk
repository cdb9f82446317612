# Networks: training (only on request; weights are shipped) and export into model_repo/.


rule train_network:
    message:
        "Training the {wildcards.stage} network"
    input:
        events=manifests("train"),
        # Each network is trained on what the trained ones before it give.
        earlier=lambda wildcards: [
            f"{RESULTS}/models/{stage}.safetensors"
            for stage in NETWORKS[: NETWORKS.index(wildcards.stage)]
        ],
    output:
        f"{RESULTS}/models/{{stage}}.safetensors",
    log:
        f"{RESULTS}/logs/train/{{stage}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{stage}}.tsv"
    params:
        train=config["train"],
        pipeline={
            key: value
            for key, value in config["pipeline"].items()
            if key not in ("weights", "threads")
        },
    threads: 2
    resources:
        mem_mb=8000,
        runtime=120,
    conda:
        ENVIRONMENT
    script:
        "../scripts/train_network.py"


rule train:
    message:
        "The trained networks are in {RESULTS}/models; set pipeline.weights to use them"
    localrule: True
    input:
        expand(rules.train_network.output, stage=NETWORKS),


rule export_network:
    message:
        "Exporting the {wildcards.stage} network"
    input:
        weights=f"{config['pipeline']['weights']}/{{stage}}.safetensors",
    output:
        "model_repo/{stage}/1/model.pt",
    log:
        f"{RESULTS}/logs/export/{{stage}}.log",
    params:
        filter_cut=config["pipeline"]["filter_cut"],
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    conda:
        ENVIRONMENT
    script:
        "../scripts/export_network.py"


rule export:
    message:
        "The networks are in model_repo"
    localrule: True
    input:
        expand(rules.export_network.output, stage=NETWORKS),
