# ExaTrkX as a Service: what does track finding cost when a server does it?
# Targets: all (default), events, train, export, reference, S0 ... S5, capacity, agreement, coverage,
# compare, study_ensemble, study_batch, serve, ckf, physics, aggregate, plots, report.

from snakemake.utils import min_version

min_version("9.0")


# Also if it is started from somewhere else.
workdir: workflow.basedir


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/events.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/capacity.smk"
include: "workflow/rules/agreement.smk"
include: "workflow/rules/serve.smk"
include: "workflow/rules/finders.smk"
include: "workflow/rules/physics.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/plots.smk"
include: "workflow/rules/trust.smk"
include: "workflow/rules/study.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        rules.aggregate.input,
        rules.plots.input,
        rules.physics.input if TRUTH else [],
        rules.report.input,
