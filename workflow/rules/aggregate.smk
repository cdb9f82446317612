# From raw samples and blocks to tables.

# Which blocks count, and how well a cost must be known.
BLOCK_RULES = {key: config["measure"][key] for key in ("precision", "min_blocks")}


rule summarise:
    input:
        samples=[path for option in OPTIONS for path in timings(option)],
        blocks=[
            path for option in OPTIONS for path in timings(option, "blocks.parquet")
        ],
        provenance=[path for option in OPTIONS for path in timings(option, "json")],
        reference=rules.reference.output.sizes,
    output:
        summary=report(
            f"{RESULTS}/summary.csv",
            caption="../report/summary.rst",
            category="Tables",
        ),
        breakdown=f"{RESULTS}/breakdown.csv",
        cost=f"{RESULTS}/cost.csv",
        provenance=f"{RESULTS}/provenance.json",
    log:
        f"{RESULTS}/logs/summarise.log",
    benchmark:
        f"{RESULTS}/benchmarks/summarise.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        **config["analysis"],
        **BLOCK_RULES,
        settings={option: measured_settings(option) for option in OPTIONS},
        code=code_digest(ANALYSIS_CODE),
    message:
        "Summarising the samples of {OPTIONS}"
    script:
        "../scripts/summarise.py"


rule aggregate:
    input:
        rules.summarise.output,
    localrule: True
    message:
        "The tables are in {RESULTS}"
