# Figures and the report, from tables and samples that exist.


# A rule per figure: a caption's name cannot hold a wildcard. They are not one job (`group`) on a cluster,
# for where Slurm refuses a job of several, Snakemake waits for ever (its Slurm plugin 2.8.0).
for figure, category in FIGURES.items():

    rule:
        name:
            f"plot_{figure}"
        input:
            samples=rules.summarise.input.samples,
            blocks=rules.summarise.input.blocks,
            summary=rules.summarise.output.summary,
            breakdown=rules.summarise.output.breakdown,
            cost=rules.summarise.output.cost,
        output:
            png=report(
                f"{RESULTS}/figures/{figure}.png",
                caption=f"../report/{figure}.rst",
                category=category,
            ),
            pdf=f"{RESULTS}/figures/{figure}.pdf",
        log:
            f"{RESULTS}/logs/plots/{figure}.log",
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            figure=figure,
            confidence_level=config["analysis"]["confidence_level"],
            min_blocks=BLOCK_RULES["min_blocks"],
            code=code_digest(ANALYSIS_CODE),
        message:
            f"Drawing {figure}"
        script:
            "../scripts/plot.py"


rule plots:
    input:
        expand(
            f"{RESULTS}/figures/{{figure}}.{{format}}",
            figure=FIGURES,
            format=["png", "pdf"],
        ),
    localrule: True
    message:
        "The figures are in {RESULTS}/figures"


rule write_report:
    input:
        figures=expand(f"{RESULTS}/figures/{{figure}}.png", figure=REPORT_FIGURES),
        captions=expand("workflow/report/{figure}.rst", figure=REPORT_FIGURES),
        summary=rules.summarise.output.summary,
        breakdown=rules.summarise.output.breakdown,
        provenance=rules.summarise.output.provenance,
        physics=rules.physics_table.output.table,
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
