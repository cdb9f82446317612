# Why is the ensemble slower than the same models one by one, or is it? Options that differ in one thing.


use rule summarise as summarise_study with:
    input:
        samples=study_files("parquet"),
        blocks=study_files("blocks.parquet"),
        provenance=study_files("json"),
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
        settings={option: measured_settings(option) for option in STUDIED},
        code=code_digest(ANALYSIS_CODE),
    message:
        "Summarising the samples of {STUDIED}"


use rule plot_figures as study_ensemble with:
    input:
        samples=study_files("parquet"),
        blocks=study_files("blocks.parquet"),
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
