# Figures and the report, from tables and samples that exist.


rule plot:
    message:
        "Drawing {wildcards.figure}"
    input:
        samples=rules.summarise.input.samples,
        reference=rules.summarise.input.reference,
        summary=rules.summarise.output.summary,
        breakdown=rules.summarise.output.breakdown,
        cost=rules.summarise.output.cost,
    output:
        png=report(
            f"{RESULTS}/figures/{{figure}}.png",
            caption="../report/{figure}.rst",
            category=lambda wildcards: FIGURES[wildcards.figure],
        ),
        pdf=f"{RESULTS}/figures/{{figure}}.pdf",
    log:
        f"{RESULTS}/logs/plots/{{figure}}.log",
    params:
        confidence_level=config["analysis"]["confidence_level"],
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    conda:
        ENVIRONMENT
    script:
        "../scripts/plot.py"


rule plots:
    message:
        "The figures are in {RESULTS}/figures"
    localrule: True
    input:
        expand(rules.plot.output, figure=FIGURES),


rule write_report:
    message:
        "Writing {RESULTS}/report.html"
    input:
        figures=expand(rules.plot.output.png, figure=FIGURES),
        captions=expand("workflow/report/{figure}.rst", figure=FIGURES),
        summary=rules.summarise.output.summary,
        breakdown=rules.summarise.output.breakdown,
        provenance=rules.summarise.output.provenance,
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    conda:
        ENVIRONMENT
    script:
        "../scripts/write_report.py"


rule report:
    message:
        "The report is {RESULTS}/report.html"
    localrule: True
    input:
        rules.write_report.output,
