"""Finds the tracks of the benchmark's events with the CKF of ACTS, and times it."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    from exatrkx_service.baseline.ckf import find_tracks
    from exatrkx_service.events.manifest import read_manifests
    from exatrkx_service.identity import identify
    from exatrkx_service.measure.lock import only_measurement
    from exatrkx_service.tracking import Method

    events = read_manifests(snakemake.input)
    (folder,) = set(events.values())
    with only_measurement("the CKF", tell):
        tracks, times = find_tracks(folder, min(events), len(events))
    files = {name: snakemake.output[name] for name in ("tracks", "times")}
    Method(tracks, times).write(files, identify(snakemake.input, {}), {"method": "CKF"})
