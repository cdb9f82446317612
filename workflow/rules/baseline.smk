# The yardstick: tracks without networks, by the CKF of ACTS, on the benchmark's events.


rule ckf:
    input:
        ckf_events,
    output:
        **method_files("baseline", "tracks", "times"),
    log:
        f"{RESULTS}/logs/ckf.log",
    benchmark:
        f"{RESULTS}/benchmarks/ckf.tsv"
    conda:
        ENVIRONMENT
    # It runs on one core, and is timed: nothing else may run beside it.
    threads: ALL_CORES
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        # The tracks and times are those of this code.
        code=code_digest(CKF_CODE),
    message:
        "Finding the tracks with the CKF of ACTS"
    script:
        "../scripts/ckf.py"
