# Networks: training (only on request; weights are shipped), and the model repository with them.


rule train_network:
    input:
        events=manifests("train"),
        # Each network is trained on what the trained ones before it give.
        earlier=lambda wildcards: [
            f"{RESULTS}/models/{stage}.safetensors"
            for stage in NETWORKS[: NETWORKS.index(wildcards.stage)]
        ],
    output:
        weights=f"{RESULTS}/models/{{stage}}.safetensors",
        curve=f"{RESULTS}/models/{{stage}}.curve.csv",
    log:
        f"{RESULTS}/logs/train/{{stage}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{stage}}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        settings=stage_settings,
    message:
        "Training the {wildcards.stage} network"
    script:
        "../scripts/train_network.py"


rule choose_cuts:
    input:
        weights=expand(rules.train_network.output.weights, stage=NETWORKS),
        events=manifests("train"),
    output:
        overlay=f"{RESULTS}/models/working_point.yaml",
        scan=f"{RESULTS}/models/cuts.csv",
    log:
        f"{RESULTS}/logs/train/choose_cuts.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/choose_cuts.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        validation_fraction=config["train"]["validation_fraction"],
        training_radius=config["train"]["cuts"]["radius"],
        k_max=config["pipeline"]["k_max"],
    message:
        "Choosing the working point of the trained networks"
    script:
        "../scripts/choose_cuts.py"


# In `models` of the networks trained here, in `figures` of those that the pipeline uses.
rule plot_training:
    input:
        curves=lambda wildcards: [
            f"{trained_networks(wildcards)}/{stage}.curve.csv" for stage in NETWORKS
        ],
        scan=lambda wildcards: f"{trained_networks(wildcards)}/cuts.csv",
    output:
        learning_curves=report(
            f"{RESULTS}/{{folder}}/learning_curves.png",
            caption="../report/learning_curves.rst",
            category="Training",
        ),
        efficiency_vs_cut=report(
            f"{RESULTS}/{{folder}}/efficiency_vs_cut.png",
            caption="../report/efficiency_vs_cut.rst",
            category="Training",
        ),
        pdf=expand(
            f"{RESULTS}/{{{{folder}}}}/{{figure}}.pdf",
            figure=TRAINING_FIGURES,
        ),
    log:
        f"{RESULTS}/logs/train/plot_{{folder}}.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        stages=NETWORKS,
    message:
        "Drawing the training of the networks in {RESULTS}/{wildcards.folder}"
    script:
        "../scripts/plot_training.py"


# Before all that runs a stage: it looks for these where they are kept.
rule compile_libraries:
    output:
        f"{MODEL_REPO}/backend.json",
    log:
        f"{RESULTS}/logs/export/libraries.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        backend=(
            config["server"]["backend"]
            if config["server"]["launcher"] == "embedded"
            else "python"
        ),
        kernels=config["pipeline"]["kernels"],
        code=code_digest(LIBRARY_CODE),
    message:
        "Compiling the operators and the native backend, where there is a C++ compiler"
    script:
        "../scripts/compile_libraries.py"


rule model_card:
    input:
        weights=expand(rules.train_network.output.weights, stage=NETWORKS),
        libraries=rules.compile_libraries.output,
        events=known_events,
        training=manifests("train") if OWN_TRAINING else [],
    output:
        multiext(f"{RESULTS}/models/", "MODEL_CARD.md", "model_card.json"),
    log:
        f"{RESULTS}/logs/train/model_card.log",
    conda:
        ENVIRONMENT
    # The whole machine: the networks are timed, too.
    threads: ALL_CORES
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        **config["analysis"],
        # Of the networks that were trained, not of those that take their place.
        pipeline={
            key: value
            for key, value in config["pipeline"].items()
            if key not in ("models", "geometric")
        },
        training=lambda wildcards: sized_sample("train"),
        evaluation=sized_sample("benchmark"),
    message:
        "Measuring the trained networks on the benchmark's events"
    script:
        "../scripts/model_card.py"


rule train:
    input:
        rules.model_card.input.weights,
        rules.model_card.output,
        rules.choose_cuts.output,
        expand(rules.plot_training.output, folder="models"),
    localrule: True
    message:
        "The trained networks are in {RESULTS}/models; use them at their working point with"
        " --configfile {RESULTS}/models/working_point.yaml"


rule export_network:
    input:
        weights=lambda wildcards: (
            network_file(config["pipeline"], wildcards.stage) or []
        ),
        libraries=rules.compile_libraries.output,
    output:
        f"{MODEL_REPO}/{{stage}}/1/model.pt",
    log:
        f"{RESULTS}/logs/export/{{stage}}.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        filter_cut=lambda wildcards: (
            config["pipeline"]["filter_cut"]
            if wildcards.stage == "filtering"
            else None
        ),
        model=lambda wildcards: replacement(config["pipeline"], wildcards.stage),
        network=lambda wildcards: NETWORK_STATES[wildcards.stage],
        kernels=config["pipeline"]["kernels"],
        code=code_digest(EXPORT_CODE),
    message:
        "Exporting the {wildcards.stage} network"
    script:
        "../scripts/export_network.py"


rule export_repository:
    input:
        tracked=TRACKED_MODELS,
        weights=WEIGHTS,
        libraries=rules.compile_libraries.output,
    output:
        [f"{RESULTS}/{path}" for path in TRACKED_MODELS],
    log:
        f"{RESULTS}/logs/export/repository.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        pipeline=config["pipeline"],
        networks=NETWORK_STATES,
        repository=lambda wildcards, output: os.path.commonpath(output),
    message:
        "Putting the settings into the model repository"
    script:
        "../scripts/export_repository.py"


rule export:
    input:
        rules.export_repository.output,
        rules.compile_libraries.output,
        expand(rules.export_network.output, stage=NETWORKS),
    localrule: True
    message:
        "The model repository is {MODEL_REPO}"
