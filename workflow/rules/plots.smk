# Figures and the report, from tables and samples that exist.


# In one job: on a cluster a job of its own takes longer to start than a figure to draw.
rule plot_figures:
    input:
        samples=rules.summarise.input.samples,
        blocks=rules.summarise.input.blocks,
        summary=rules.summarise.output.summary,
        breakdown=rules.summarise.output.breakdown,
        cost=rules.summarise.output.cost,
    output:
        **figure_files(FIGURES),
    log:
        f"{RESULTS}/logs/plots/figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/plots/figures.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        confidence_level=config["analysis"]["confidence_level"],
        min_blocks=BLOCK_RULES["min_blocks"],
        code=code_digest(ANALYSIS_CODE),
    message:
        f"Drawing {', '.join(FIGURES)}"
    script:
        "../scripts/plot.py"


rule plots:
    input:
        rules.plot_figures.output,
    localrule: True
    message:
        "The figures are in {RESULTS}/figures"


rule write_report:
    input:
        **({"physics": rules.physics_table.output.table} if TRUTH else {}),
        figures=expand(f"{RESULTS}/figures/{{figure}}.png", figure=REPORT_FIGURES),
        captions=expand("workflow/report/{figure}.rst", figure=REPORT_FIGURES),
        summary=rules.summarise.output.summary,
        breakdown=rules.summarise.output.breakdown,
        provenance=rules.summarise.output.provenance,
        sample=rules.describe_sample.output[0],
        blocks=rules.summarise.input.blocks,
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest(ANALYSIS_CODE),
    message:
        "Writing {RESULTS}/report.html"
    script:
        "../scripts/write_report.py"


rule report:
    input:
        rules.write_report.output,
    localrule: True
    message:
        "The report is {RESULTS}/report.html"
