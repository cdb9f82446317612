# Track finders that are compared: the pipeline, with other keys too, and those that are called.


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


def method_files(folder, *tables):
    """The files of a track finder's results, by table; results/README.md describes them."""
    return {table: f"{RESULTS}/{folder}/{table}.parquet" for table in tables}


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
