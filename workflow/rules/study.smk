# Studies: options that are measured on request alone, each against S0 beside it, and what they say together.


# Why is the ensemble slower than the same models one by one, or is it? Options that differ in one thing.


use rule summarise as summarise_study with:
    input:
        samples=study_files("study_ensemble", "parquet"),
        blocks=study_files("study_ensemble", "blocks.parquet"),
        provenance=study_files("study_ensemble", "json"),
        reference=rules.reference.output.sizes,
    output:
        summary=report(
            f"{RESULTS}/study_ensemble/summary.csv",
            caption="../report/study_ensemble.rst",
            category="Ensemble",
        ),
        breakdown=f"{RESULTS}/study_ensemble/breakdown.csv",
        cost=f"{RESULTS}/study_ensemble/cost.csv",
        provenance=f"{RESULTS}/study_ensemble/provenance.json",
    log:
        f"{RESULTS}/logs/summarise_study.log",
    benchmark:
        f"{RESULTS}/benchmarks/summarise_study.tsv"
    params:
        **config["analysis"],
        **BLOCK_RULES,
        settings={
            option: measured_settings(option) for option in STUDIES["study_ensemble"]
        },
        code=code_digest(ANALYSIS_CODE),
    message:
        "Summarising the samples of the ensemble and its like"


use rule plot_figures as study_ensemble with:
    input:
        samples=study_files("study_ensemble", "parquet"),
        blocks=study_files("study_ensemble", "blocks.parquet"),
        summary=rules.summarise_study.output.summary,
        breakdown=rules.summarise_study.output.breakdown,
    output:
        **figure_files({"study_ensemble": "Ensemble"}),
    log:
        f"{RESULTS}/logs/plots/study_ensemble.log",
    benchmark:
        f"{RESULTS}/benchmarks/plots/study_ensemble.tsv"
    message:
        "Drawing what the ensemble costs, and what changes it"


# What does a request cost that holds several events?
use rule summarise as summarise_batch with:
    input:
        samples=study_files("study_batch", "parquet"),
        blocks=study_files("study_batch", "blocks.parquet"),
        provenance=study_files("study_batch", "json"),
        reference=rules.reference.output.sizes,
    output:
        summary=f"{RESULTS}/study_batch/summary.csv",
        breakdown=f"{RESULTS}/study_batch/breakdown.csv",
        cost=f"{RESULTS}/study_batch/cost.csv",
        provenance=f"{RESULTS}/study_batch/provenance.json",
        batches=report(
            f"{RESULTS}/study_batch/batches.csv",
            caption="../report/study_batch.rst",
            category="Batching",
        ),
    log:
        f"{RESULTS}/logs/summarise_batch.log",
    benchmark:
        f"{RESULTS}/benchmarks/summarise_batch.tsv"
    params:
        **config["analysis"],
        **BLOCK_RULES,
        settings={
            option: measured_settings(option) for option in STUDIES["study_batch"]
        },
        code=code_digest(ANALYSIS_CODE),
    message:
        "Summarising the samples of requests with several events"


use rule plot_figures as study_batch with:
    input:
        batches=rules.summarise_batch.output.batches,
    output:
        **figure_files({"study_batch": "Batching"}),
    log:
        f"{RESULTS}/logs/plots/study_batch.log",
    benchmark:
        f"{RESULTS}/benchmarks/plots/study_batch.tsv"
    message:
        "Drawing what a request with several events costs"
