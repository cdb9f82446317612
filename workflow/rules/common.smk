# Configuration, names and helpers that all rules share.

import functools
import os
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)

# The package is used from the checkout, also inside a rule's conda environment.
sys.path.insert(0, str(ROOT / "src"))

from exatrkx_service import environment
from exatrkx_service.config import (
    CKF,
    ConfigError,
    finder_kind,
    load_config,
    problem_of_clients,
)
from exatrkx_service.identity import (
    ANALYSIS_CODE,
    CODE,
    EVENTS_CODE,
    EXPORT_CODE,
    FINDER_CODE,
    IMPORT_CODE,
    LIBRARY_CODE,
    checkout_digest,
    code_digest,
    network_states,
    with_files,
)
from exatrkx_service.models.working_point import card_warning
from exatrkx_service.options import NETWORKS, left_out
from exatrkx_service.paths import (
    COMPARED,
    check_paths,
    network_file,
    network_files,
    replacement,
    trained_here,
)
from exatrkx_service.server_settings import problem_of_options, server_of
from exatrkx_service.signals import hangup_as_termination

# Every job inherits this process's environment.
environment.clean(os.environ)
environment.pin(os.environ, {"PYTHONPATH": str(ROOT / "src")})

hangup_as_termination()
if Path.cwd() != ROOT.resolve():
    raise WorkflowError(
        f"the workflow runs in its own folder, {ROOT}; leave --directory out"
    )
try:
    config = load_config(config, source="configuration")
    check_paths(config, ROOT)
except ConfigError as error:
    raise WorkflowError(str(error)) from None
OWN_EVENTS, OWN_TRAINING = (
    config[section]["source"] != "generate" for section in ("events", "train")
)


def refuse(why):
    """Ends the run with one line. Of an exception in a rule's function Snakemake shows a traceback."""
    raise SystemExit(f"error: {why}")


include: "own.smk"


RESULTS = config["results"]
ENVIRONMENT = f"../../envs/{config['environment']}.yaml"
# The options that need other models than the one of `server.model`, each with the reason.
LEFT_OUT = left_out(config["options"], config["server"])
OPTIONS = [option for option in config["options"] if option not in LEFT_OUT]
# Those that `snakemake study_ensemble` compares.
STUDY = config["study_ensemble"]
STUDIED = list(STUDY["options"])
# Of this machine; on a cluster the profile's set-threads says how many a node has.
ALL_CORES = workflow.resource_settings.cores or 2
# The model repository of this configuration: the tracked files with its settings put in, and the
# exported networks. It is the results' own, so no other configuration changes it.
MODEL_REPO = f"{RESULTS}/model_repo"
TRACKED_MODELS = sorted(
    str(path)
    for pattern in ("*/config.pbtxt", "*/1/model.py")
    for path in Path("model_repo").glob(pattern)
)
WEIGHTS = network_files(config["pipeline"])
NETWORK_STATES = network_states(config["pipeline"], trained_here(config))
# The cuts that a network depends on: a change of any other trains none anew.
TRAINING_CUTS = {
    "embedding": ("radius", "k_max"),
    "filtering": ("radius", "k_max", "filter_cut"),
    "gnn": ("radius", "k_max", "filter_cut", "gnn_cut"),
}
FIGURES = {
    "comparison": "Options compared",
    "overhead": "Overhead",
    "latency_vs_concurrency": "Concurrency",
    "throughput_vs_concurrency": "Concurrency",
    "latency_distribution": "Latency",
    "time_vs_space_points": "Latency",
    "ensemble_timeline": "Ensemble",
    "resources": "Resources",
}
PHYSICS_FIGURES = {
    "efficiency": "Tracking performance",
    "fake_and_duplicate_rates": "Tracking performance",
    "efficiency_vs_time": "Tracking performance",
    "event_display": "Event display",
}
TRAINING_FIGURES = ("learning_curves", "efficiency_vs_cut")
# Networks from elsewhere may come without the tables of their training.
NETWORK_FIGURES = (
    TRAINING_FIGURES
    if config["pipeline"]["weights"] == trained_here(config)
    or Path(config["pipeline"]["weights"], "cuts.csv").is_file()
    else ()
)
REPORT_FIGURES = (
    *FIGURES,
    *(PHYSICS_FIGURES if TRUTH else ()),
    *NETWORK_FIGURES,
)

# Track finders besides the pipeline as it is configured: that with other keys; and those that are called, the
# CKF among them, which wants measurements on surfaces of the generic detector.
PIPELINES, FINDERS = {}, {}
for name, method in config["physics"]["methods"].items():
    if finder_kind(method) is None:
        PIPELINES[name] = method
        continue
    try:
        FINDERS[name] = with_files(method)
    except OSError as error:
        raise WorkflowError(
            f"physics.methods.{name}: {error.filename}: can't be read ({error.strerror})"
        ) from None
METHOD_FOLDERS = {"exatrkx": "exatrkx"} | {
    name: f"methods/{name}" for name in config["physics"]["methods"]
}
if not OWN_EVENTS:
    FINDERS["CKF"], METHOD_FOLDERS["CKF"] = with_files(CKF), "baseline"


wildcard_constraints:
    folder="models|figures",
    sample="benchmark|train",
    first=r"\d+",
    last=r"\d+",
    option="|".join([*OPTIONS, *STUDIED]),
    round=r"\d+",
    stage="|".join(NETWORKS),
    method="|".join(PIPELINES) or "none",
    finder="|".join(METHOD_FOLDERS[name] for name in FINDERS) or "none",


onstart:
    for option, reason in LEFT_OUT.items():
        print(f"{option} is left out: it {reason}", file=sys.stderr)
    if warning := card_warning(
        Path(config["pipeline"]["weights"]), config["pipeline"]
    ):
        print(f"warning: {warning}", file=sys.stderr)
    if OWN_EVENTS and own_sample("events").gone:
        print(
            f"warning: events.path: {config['events']['path']} is not there any more; the "
            f"{config['events']['n_events']} events that were read from it are used",
            file=sys.stderr,
        )


def sample_settings(sample):
    """What decides on the events of a sample; of generated ones their number does not."""
    events = config["events"]
    if is_own(sample):
        section = "train" if sample == "train" else "events"
        own = config[section] | {"n_events": len(own_sample(section).files)}
        keys = ("source", "path", "skip", "n_events", own["source"])
        settings = {key: own[key] for key in keys if key in own}
        columns = config["server"].get("model", {}).get("columns")
        if columns and section == "events":
            settings["features"] = settings["features"] | {"columns": columns}
        return settings
    others = ("source", "path", "n_events", "chunk_size", "features")
    settings = {key: value for key, value in events.items() if key not in others}
    return settings | ({"seed": config["train"]["seed"]} if sample == "train" else {})


def sized_sample(sample):
    """What decides on the events of a sample, and how many there are."""
    section = config["train" if sample == "train" else "events"]
    settings = sample_settings(sample)
    return settings | {"n_events": settings.get("n_events", section["n_events"])}


def manifests(sample):
    """One manifest per chunk of events; each names the files of its events."""
    if is_own(sample):
        section = "train" if sample == "train" else "events"
        return [f"{own_folder(section)}/events.json"]
    size, n_events = config["events"]["chunk_size"], sized_sample(sample)["n_events"]
    return [
        f"{RESULTS}/events/{sample}/events_{first}-{min(first + size, n_events) - 1}.json"
        for first in range(0, n_events, size)
    ]


def method_files(folder, *tables):
    """The files of a track finder's results, by table; results/README.md describes them."""
    return {table: f"{RESULTS}/{folder}/{table}.parquet" for table in tables}


def figure_files(figures):
    """The files of figures, each by its name: PNG with its caption in Snakemake's report, and PDF."""
    return {
        name: report(
            f"{RESULTS}/figures/{name}.png",
            caption=f"../report/{name}.rst",
            category=category,
        )
        for name, category in figures.items()
    } | {f"{name}_pdf": f"{RESULTS}/figures/{name}.pdf" for name in figures}


# The track finders that are compared, and the files that hold what they found.
METHODS = {
    name: method_files(
        folder, "tracks", "times", *(() if name in FINDERS else ("edges",))
    )
    for name, folder in METHOD_FOLDERS.items()
}

# What each of them was made with, as it stands in its files.
METHOD_SETTINGS = {
    "exatrkx": config["pipeline"],
    **{name: config["pipeline"] | method for name, method in PIPELINES.items()},
    **{
        name: method | {"threads": config["pipeline"]["threads"]}
        for name, method in FINDERS.items()
    },
}


# The networks of all of them, each once.
ALL_WEIGHTS = sorted(
    {
        file
        for name, settings in METHOD_SETTINGS.items()
        if name not in FINDERS
        for file in network_files(settings)
    }
)


def method_pipeline(wildcards):
    """The section `pipeline` of a track finder of `physics.methods`."""
    return METHOD_SETTINGS[wildcards.method]


def method_networks(wildcards):
    """What tells the networks of a track finder of `physics.methods` from others."""
    return network_states(method_pipeline(wildcards), trained_here(config))


def method_weights(wildcards):
    """The trained networks of a track finder of `physics.methods`."""
    return network_files(method_pipeline(wildcards))


def trained_networks(wildcards):
    """The folder of networks whose training the figures in `folder` show."""
    return {"models": f"{RESULTS}/models", "figures": config["pipeline"]["weights"]}[
        wildcards.folder
    ]


def ckf_files(wildcards):
    """The tracks and times of the CKF."""
    if OWN_EVENTS:
        refuse(
            f"events.source: {config['events']['source']}: the CKF runs on measurements on the "
            "surfaces of the generic detector, which only generated events have"
        )
    return METHODS["CKF"].values()


def finder_name(wildcards):
    """The track finder whose results are in a folder."""
    return next(name for name in FINDERS if METHOD_FOLDERS[name] == wildcards.finder)


def finder_settings(wildcards):
    """What a track finder that is called is, and what it is given."""
    return METHOD_SETTINGS[finder_name(wildcards)]


def known_events(wildcards):
    """The sample, if it is known which particles made its space points."""
    if not TRUTH:
        refuse(
            f"events.path: {config['events']['path']}: no files that say which particles made the "
            "space points; tracking performance, and trained networks, can't be judged without"
        )
    return manifests("benchmark")


def physics_files(wildcards):
    """The table and the figures of tracking performance."""
    known_events(wildcards)
    figures = expand(
        f"{RESULTS}/figures/{{figure}}.{{kind}}",
        figure=(*PHYSICS_FIGURES, *NETWORK_FIGURES),
        kind=("png", "pdf"),
    )
    return [f"{RESULTS}/physics.csv", *figures]


def baseline_files(wildcards):
    """What another run's results are compared by."""
    if "baseline" not in config:
        refuse(
            "baseline: missing key; expected the folder of another run's results, as in "
            "`snakemake compare --config baseline=results/before`"
        )
    return {
        f"baseline_{Path(name).stem}": f"{config['baseline']}/{name}"
        for name in COMPARED
    }


def compared_builds(wildcards):
    """What tells the build that `snakemake speed` compares this one with."""
    if "against" not in config["speed"]:
        refuse(
            "speed.against: missing key; expected the folder of another checkout, as in "
            """`snakemake speed --config 'speed={"against": "../before"}'`"""
        )
    return {"other": f"{config['speed']['against']}/config/config.yaml"}


def study_files(kind):
    """Of the options of the study: the files of one kind, see `timings`."""

    def files(wildcards):
        key = "study_ensemble.options"
        if problem := problem_of_options(
            config["server"], STUDY["options"], key
        ) or problem_of_clients(config, "study_ensemble"):
            refuse(problem)
        return [path for option in STUDIED for path in timings(option, kind)]

    return files


def plan_of(option):
    """The section `measure` for one option."""
    study = ("concurrency", "rounds") if option in STUDIED else ()
    return config["measure"] | {key: STUDY[key] for key in study}


def timings(option, kind="parquet"):
    """The raw samples of one option, one file per round; kind "json": their provenance."""
    return [
        f"{RESULTS}/timings/{option}/round{number}.{kind}"
        for number in range(1, plan_of(option)["rounds"] + 1)
    ]


def left_out_files(option):
    """What there is to make of an option that is not measured: the reason."""

    def files(wildcards):
        refuse(f"options.{option}: it {LEFT_OUT[option]}")

    return files


def turn(wildcards):
    """Priority of a measurement: round by round, each round beginning with another option."""
    options = STUDIED if wildcards.option in STUDIED else OPTIONS
    number, rounds = int(wildcards.round), plan_of(wildcards.option)["rounds"]
    place = (options.index(wildcards.option) - number) % len(options)
    return 1 + (rounds - number) * len(options) + len(options) - 1 - place


def measured_settings(option):
    """What a measurement of an option depends on of the configuration."""
    chosen = (STUDY if option in STUDIED else config)["options"][option]
    return {
        "pipeline": config["pipeline"],
        "server": server_of(chosen, config["server"]),
        # One more round leaves those that are there.
        "measure": {k: v for k, v in plan_of(option).items() if k != "rounds"},
        "option": chosen,
    }


def capacity_files(kind):
    """Of each option: the requests ("parquet"), the rates ("csv") or the provenance ("json")."""
    return [f"{RESULTS}/capacity/{option}.{kind}" for option in OPTIONS]


def capacity_settings(option):
    """What the capacity of an option depends on of the configuration."""
    measure = ("clients", "warmup_events", "request_timeout_s")
    chosen = config["options"][option]
    return {
        **{key: config[key] for key in ("pipeline", "load")},
        "server": server_of(chosen, config["server"]),
        "measure": {key: config["measure"][key] for key in measure},
        "option": chosen,
    }


def stage_settings(wildcards):
    """What one network depends on of the section `train`."""
    train, stage = config["train"], wildcards.stage
    shared = ("seed", "validation_fraction", "patience")
    settings = {key: train[key] for key in shared} | {
        "network": train["networks"][stage],
        "epochs": train["epochs"][stage],
        "learning_rate": train["learning_rate"][stage],
        "cuts": {key: train["cuts"][key] for key in TRAINING_CUTS[stage]},
    }
    return settings | ({"sample": train["source"]} if OWN_TRAINING else {})
