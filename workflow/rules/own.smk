# Events from elsewhere, to measure on or to train on: where they are, and what is known of them.


def own_folder(section):
    """The folder that events from elsewhere are taken in to."""
    name = "imported_train" if section == "train" else "imported"
    return f"{config['results']}/events/{name}"


@functools.cache
def own_sample(section):
    """Where the events from elsewhere are from that a section names, see `events.sample.Source`.
    Those to train on are looked for only on request."""
    from exatrkx_service.events.sample import check_training, look
    from exatrkx_service.events.tables import EventFormatError

    try:
        source = look(config[section], Path(own_folder(section), "events.json"))
        n_events = len(source.files)
        load_config(
            config | {section: config[section] | {"n_events": n_events}},
            source=f"{n_events} events in {section}.path",
        )
        if section == "train" and OWN_EVENTS:
            measured = own_sample("events").files
            check_training(config["train"], source.files, config["events"], measured)
    except (EventFormatError, ConfigError) as error:
        refuse(error)
    if section == "train" and not source.truth:
        refuse(
            f"train.path: {config['train']['path']}: no files that say which particles made the "
            "space points, from which networks learn"
        )
    return source


def own_paths(section):
    """The files of these events, each once."""
    files = own_sample(section).files.values()
    return sorted({str(path) for paths in files for path in paths})


def is_own(sample):
    """Whether a sample's events are from elsewhere."""
    return OWN_TRAINING if sample == "train" else OWN_EVENTS


# Whether it is known which particles made the space points of the events that are measured.
TRUTH = True
if OWN_EVENTS:
    TRUTH = own_sample("events").truth
    config["events"]["n_events"] = len(own_sample("events").files)
