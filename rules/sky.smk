# The observed sky -> images of its tiles.
# in:  settings, catalogue files, or an archive, whose pages are kept in sky/archive
# out: sky/stars.parquet, sky/footprint.nc, references.nc, sky/cmds.nc
#      and for the synthetic sky: sky/truth.nc, sky/planck.fits


if SYNTHETIC:

    rule observe_sky:
        """Observe the synthetic sky: mock stars behind known dust."""
        output:
            stars=f"{RESULTS}/sky/stars.parquet",
            footprint=f"{RESULTS}/sky/footprint.nc",
            truth=f"{RESULTS}/sky/truth.nc",
            planck=f"{RESULTS}/sky/planck.fits",
        log:
            f"{RESULTS}/logs/observe_sky.log",
        benchmark:
            f"{RESULTS}/benchmarks/observe_sky.tsv"
        conda:
            "../envs/galcarto.yaml"
        resources:
            mem_mb=growing(3000),
            runtime=60,
        params:
            **stage("observe_synthetic"),
            table=GALAXY_TABLE,
            seed=SEED,
        shell:
            "NUMBA_NUM_THREADS={threads} python -m galcarto observe_synthetic --settings {params.settings:q} "
            "--seed {params.seed} --stars {output.stars:q} --footprint {output.footprint:q} "
            "--truth {output.truth:q} --planck {output.planck:q} > {log:q} 2>&1"

elif SETTINGS.sky.source == "archive":

    # the pages are not an output, as Snakemake would delete them before a job and after a failure: a retry resumes
    # from them
    rule observe_sky:
        """Fetch the observed stars from an archive."""
        output:
            stars=f"{RESULTS}/sky/stars.parquet",
            footprint=f"{RESULTS}/sky/footprint.nc",
        log:
            f"{RESULTS}/logs/observe_sky.log",
        retries: 3
        conda:
            "../envs/galcarto.yaml"
        resources:
            mem_mb=growing(8000),
            runtime=1440,
        params:
            **stage("observe_archive"),
            seed=SEED,
            pages=f"{RESULTS}/sky/archive",
            offline=OFFLINE,
        shell:
            "python -m galcarto observe_archive --settings {params.settings:q} --seed {params.seed} "
            "--pages {params.pages:q} {params.offline} --stars {output.stars:q} --footprint {output.footprint:q} "
            "> {log:q} 2>&1"

else:

    rule observe_sky:
        """Read the observed stars from catalogue files."""
        input:
            [file.path for file in SETTINGS.sky.files],
        output:
            stars=f"{RESULTS}/sky/stars.parquet",
            footprint=f"{RESULTS}/sky/footprint.nc",
        log:
            f"{RESULTS}/logs/observe_sky.log",
        conda:
            "../envs/galcarto.yaml"
        resources:
            mem_mb=growing(8000),
            runtime=60,
        params:
            **stage("observe_files"),
            seed=SEED,
        shell:
            "python -m galcarto observe_files --settings {params.settings:q} --seed {params.seed} "
            "--stars {output.stars:q} --footprint {output.footprint:q} > {log:q} 2>&1"


rule render_references:
    """Integrate the dust-free reference diagrams of the tiles."""
    input:
        control=CONTROL,
    output:
        f"{RESULTS}/references.nc",
    log:
        f"{RESULTS}/logs/render_references.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        **stage("render_references"),
        table=GALAXY_TABLE,
        control=option("control"),
        # the most is for the first direction
        sightlines=f"--sightlines {' '.join(SIGHTLINES)}" if SETTINGS.examples.together else "",
    shell:
        "NUMBA_NUM_THREADS={threads} python -m galcarto render_references --settings {params.settings:q} "
        "{params.control} {params.sightlines} --output {output:q} > {log:q} 2>&1"


rule render_sky:
    """Bin the observed stars of every tile, beside its reference."""
    input:
        stars=f"{RESULTS}/sky/stars.parquet",
        footprint=f"{RESULTS}/sky/footprint.nc",
        references=f"{RESULTS}/references.nc",
    output:
        f"{RESULTS}/sky/cmds.nc",
    log:
        f"{RESULTS}/logs/render_sky.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        **stage("render_sky"),
        seed=SEED,
    shell:
        "python -m galcarto render_sky --settings {params.settings:q} --seed {params.seed} --stars {input.stars:q} "
        "--footprint {input.footprint:q} --references {input.references:q} --output {output:q} > {log:q} 2>&1"


if SETTINGS.control is not None:

    rule measure_control:
        """Measure the differences between real and mock stars in the control field."""
        input:
            [file.path for file in SETTINGS.control.files],
        output:
            corrections=f"{RESULTS}/control.json",
            comparison=f"{RESULTS}/comparisons/control.nc",
        log:
            f"{RESULTS}/logs/measure_control.log",
        conda:
            "../envs/galcarto.yaml"
        resources:
            mem_mb=growing(3000),
            runtime=30,
        params:
            **stage("measure_control"),
            table=GALAXY_TABLE,
        shell:
            "NUMBA_NUM_THREADS={threads} python -m galcarto measure_control --settings {params.settings:q} "
            "--output {output.corrections:q} --comparison {output.comparison:q} > {log:q} 2>&1"
