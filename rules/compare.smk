# The cube against the truth and other maps -> metrics.
# in:  cube.nc, sky/truth.nc, HEALPix maps and published maps in three dimensions, on disk or from an archive
# out: planck/*.fits, maps/, comparisons/*.nc, comparisons/*.json, metrics.json


rule compare_truth:
    """Compare the cube with the true extinction of the synthetic sky."""
    input:
        cube=f"{RESULTS}/cube.nc",
        truth=f"{RESULTS}/sky/truth.nc",
    output:
        comparison=f"{RESULTS}/comparisons/truth.nc",
        metrics=f"{RESULTS}/comparisons/truth.json",
    log:
        f"{RESULTS}/logs/compare_truth.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=30,
    params:
        **stage("compare_truth"),
        seed=SEED,
        files=input_options,
    shell:
        "python -m galcarto {params.stage} --seed {params.seed} {params.files} "
        "--comparison {output.comparison:q} --metrics {output.metrics:q} > {log:q} 2>&1"


use rule compare_truth as measure_artefacts with:
    """Quantify map artefacts: fingers of God, tiling, stripes, steps at the ends of the grid."""
    input:
        cube=f"{RESULTS}/cube.nc",
        truth=[f"{RESULTS}/sky/truth.nc"] if SYNTHETIC else [],
    output:
        comparison=f"{RESULTS}/comparisons/artefacts.nc",
        metrics=f"{RESULTS}/comparisons/artefacts.json",
    log:
        f"{RESULTS}/logs/measure_artefacts.log",
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        **stage("measure_artefacts"),


if TRACERS:

    rule collect_tracers:
        """Collect masers and HII regions; missing files and failed downloads are left out."""
        input:
            TRACER_FILES,
        output:
            f"{RESULTS}/tracers.nc",
        log:
            f"{RESULTS}/logs/collect_tracers.log",
        conda:
            "../envs/galcarto.yaml"
        resources:
            mem_mb=growing(2000),
            runtime=30,
        params:
            **stage("collect_tracers"),
            folder=f"{RESULTS}/tracers",
            offline=OFFLINE,
        shell:
            "python -m galcarto collect_tracers --settings {params.settings:q} --folder {params.folder:q} "
            "{params.offline} --output {output:q} > {log:q} 2>&1"


rule compare_arms:
    """Compare the dust on spiral arms, and at tracers of them, with the dust elsewhere."""
    input:
        cube=f"{RESULTS}/cube.nc",
        truth=[f"{RESULTS}/sky/truth.nc"] if SYNTHETIC else [],
        tracers=TRACERS,
    output:
        comparison=f"{RESULTS}/comparisons/arms.nc",
        metrics=f"{RESULTS}/comparisons/arms.json",
    log:
        f"{RESULTS}/logs/compare_arms.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=30,
    params:
        **stage("compare_arms"),
        seed=SEED,
        files=input_options,
    shell:
        "python -m galcarto {params.stage} --settings {params.settings:q} --seed {params.seed} {params.files} "
        "--comparison {output.comparison:q} --metrics {output.metrics:q} > {log:q} 2>&1"


rule fetch_planck:
    """Fetch a HEALPix map of dust from an archive, once."""
    output:
        # not deleted before the job: an existing map with the right sha256 is not fetched again
        update(f"{RESULTS}/planck/{{name}}.fits"),
    log:
        f"{RESULTS}/logs/fetch_planck/{{name}}.log",
    retries: 3
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=240,
    params:
        **stage("fetch_planck"),
        url=lambda wildcards: MAPS[wildcards.name].url,
        sha256=lambda wildcards: f"--sha256 {MAPS[wildcards.name].sha256}" if MAPS[wildcards.name].sha256 else "",
        offline=OFFLINE,
    shell:
        "python -m galcarto fetch_planck --url {params.url:q} {params.sha256} {params.offline} "
        "--output {output:q} > {log:q} 2>&1"


rule compare_limit:
    """Compare the network with the information limit and with colour excesses."""
    input:
        network=f"{RESULTS}/network/network.pt",
        examples=examples("test")[0],
        stars=f"{RESULTS}/stars/{SETTINGS.sightlines.names('test')[0]}.parquet",
        control=CONTROL,
    output:
        comparison=f"{RESULTS}/comparisons/limit.nc",
        metrics=f"{RESULTS}/comparisons/limit.json",
    log:
        f"{RESULTS}/logs/compare_limit.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare_limit.tsv"
    conda:
        "../envs/galcarto.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        **stage("compare_limit"),
        table=GALAXY_TABLE,
        seed=SEED,
        control=option("control"),
    shell:
        "NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 python -m galcarto compare_limit --settings {params.settings:q} "
        "--seed {params.seed} --network {input.network:q} --examples {input.examples:q} --stars {input.stars:q} "
        "{params.control} --processes {threads} --comparison {output.comparison:q} --metrics {output.metrics:q} "
        "> {log:q} 2>&1"


rule compare_planck:
    """Compare the extinction of the cube, as far as stars reach, with a HEALPix map of dust."""
    input:
        cube=f"{RESULTS}/cube.nc",
        map=lambda wildcards: map_file(wildcards.name),
    output:
        comparison=f"{RESULTS}/comparisons/planck_{{name}}.nc",
        metrics=f"{RESULTS}/comparisons/planck_{{name}}.json",
    log:
        f"{RESULTS}/logs/compare_planck/{{name}}.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=30,
    params:
        **stage("compare_planck"),
        seed=SEED,
    shell:
        "python -m galcarto compare_planck --settings {params.settings:q} --seed {params.seed} "
        "--name {wildcards.name:q} --cube {input.cube:q} --map {input.map:q} --comparison {output.comparison:q} "
        "--metrics {output.metrics:q} > {log:q} 2>&1"


rule fetch_map:
    """Fetch a published map in three dimensions; a failure is recorded and does not stop the workflow."""
    output:
        f"{RESULTS}/maps/{{name}}.json",
    log:
        f"{RESULTS}/logs/fetch_map/{{name}}.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=720,
    params:
        **stage("fetch_map"),
        offline=OFFLINE,
    shell:
        "python -m galcarto fetch_map --name {wildcards.name} {params.offline} --output {output:q} " "> {log:q} 2>&1"


rule compare_maps:
    """Compare the cube with a published map in three dimensions, bin by bin of distance."""
    input:
        cube=f"{RESULTS}/cube.nc",
        map=lambda wildcards: PUBLISHED[wildcards.name] or f"{RESULTS}/maps/{wildcards.name}.json",
    output:
        comparison=f"{RESULTS}/comparisons/map_{{name}}.nc",
        metrics=f"{RESULTS}/comparisons/map_{{name}}.json",
    log:
        f"{RESULTS}/logs/compare_maps/{{name}}.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=map_memory,
        runtime=120,
    params:
        **stage("compare_maps"),
    shell:
        "python -m galcarto compare_maps --name {wildcards.name} --cube {input.cube:q} --map {input.map:q} "
        "--comparison {output.comparison:q} --metrics {output.metrics:q} > {log:q} 2>&1"


if EXCESS:

    rule compare_excess:
        """Compare the mean colour excess of the same stars with the HEALPix maps of dust."""
        input:
            stars=f"{RESULTS}/sky/stars.parquet",
            footprint=f"{RESULTS}/sky/footprint.nc",
            maps=[map_file(name) for name in MAPS],
            control=[file.path for file in SETTINGS.control.files],
        output:
            comparison=f"{RESULTS}/comparisons/excess.nc",
            metrics=f"{RESULTS}/comparisons/excess.json",
        log:
            f"{RESULTS}/logs/compare_excess.log",
        conda:
            "../envs/galcarto.yaml"
        resources:
            mem_mb=growing(4000),
            runtime=30,
        params:
            **stage("compare_excess"),
        shell:
            "python -m galcarto compare_excess --settings {params.settings:q} --stars {input.stars:q} "
            "--footprint {input.footprint:q} --maps {input.maps:q} --comparison {output.comparison:q} "
            "--metrics {output.metrics:q} > {log:q} 2>&1"


if STRUCTURE:

    rule compare_structure:
        """Measure the distance of the dust in the tiles of highest extinction."""
        input:
            cube=f"{RESULTS}/cube.nc",
            planck=f"{RESULTS}/comparisons/planck_{STRUCTURE.map}.nc",
        output:
            comparison=f"{RESULTS}/comparisons/structure.nc",
            metrics=f"{RESULTS}/comparisons/structure.json",
        log:
            f"{RESULTS}/logs/compare_structure.log",
        conda:
            "../envs/galcarto.yaml"
        resources:
            mem_mb=growing(4000),
            runtime=30,
        params:
            **stage("compare_structure"),
        shell:
            "python -m galcarto compare_structure --settings {params.settings:q} --cube {input.cube:q} "
            "--planck {input.planck:q} --comparison {output.comparison:q} --metrics {output.metrics:q} "
            "> {log:q} 2>&1"


use rule compare_arms as compare_surveys with:
    """Compare the extinction from each survey alone and from all together in the same tiles."""
    input:
        network=f"{RESULTS}/network/network.pt",
        sky=f"{RESULTS}/sky/cmds.nc",
    output:
        comparison=f"{RESULTS}/comparisons/surveys.nc",
        metrics=f"{RESULTS}/comparisons/surveys.json",
    log:
        f"{RESULTS}/logs/compare_surveys.log",
    params:
        **stage("compare_surveys"),


rule measure_information:
    """Compute the information limit of each survey and of all together."""
    input:
        stars=f"{RESULTS}/stars/{SETTINGS.sightlines.names('train')[0]}.parquet",
        control=CONTROL,
        cube=f"{RESULTS}/cube.nc",
    output:
        f"{RESULTS}/comparisons/information.json",
    log:
        f"{RESULTS}/logs/measure_information.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=15,
    params:
        **stage("measure_information"),
        seed=SEED,
        control=option("control"),
    shell:
        "NUMBA_NUM_THREADS={threads} python -m galcarto measure_information --settings {params.settings:q} "
        "--seed {params.seed} {params.control} --stars {input.stars:q} --cube {input.cube:q} --metrics {output:q} "
        "> {log:q} 2>&1"


use rule compare_arms as measure_prior with:
    """Measure statistics of the prior over profiles, with and without its parts, beside published ones."""
    input:
        [],
    output:
        comparison=f"{RESULTS}/comparisons/prior.nc",
        metrics=f"{RESULTS}/comparisons/prior.json",
    log:
        f"{RESULTS}/logs/measure_prior.log",
    resources:
        mem_mb=growing(3000),
        runtime=15,
    params:
        **stage("measure_prior"),


rule collect_metrics:
    """Collect the numbers of all comparisons in one file."""
    input:
        cube=f"{RESULTS}/cube.nc",
        history=f"{RESULTS}/network/history.csv",
        control=CONTROL,
        parts=expand(f"{RESULTS}/comparisons/{{comparison}}.json", comparison=COMPARISONS),
    output:
        f"{RESULTS}/metrics.json",
    log:
        f"{RESULTS}/logs/collect_metrics.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=10,
    params:
        **stage("collect_metrics"),
        control=option("control"),
    shell:
        "python -m galcarto collect_metrics --settings {params.settings:q} --cube {input.cube:q} "
        "--history {input.history:q} {params.control} --parts {input.parts:q} --output {output:q} > {log:q} 2>&1"
