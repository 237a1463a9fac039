# The cube against the truth and other maps -> metrics.
# in:  cube.nc, sky/truth.nc, HEALPix maps
# out: comparisons/*.nc, comparisons/*.json, metrics.json


rule compare_truth:
    """Compare the cube with the synthetic sky's true extinction."""
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
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code_digest("compare_truth"),
        seed=SEED,
    shell:
        "python -m galcarto compare_truth --seed {params.seed} --cube {input.cube:q} --truth {input.truth:q} "
        "--comparison {output.comparison:q} --metrics {output.metrics:q} > {log:q} 2>&1"


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
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("compare_limit"),
        settings=SETTINGS.section_json(
            "galaxy", "surveys", "pixels", "dust", "distance", "realism", "galaxies", "profiles", "inference", "compare"
        ),
        table=GALAXY_TABLE,
        seed=SEED,
        control=control_option,
    shell:
        "NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 python -m galcarto compare_limit --settings {params.settings:q} "
        "--seed {params.seed} --network {input.network:q} --examples {input.examples:q} --stars {input.stars:q} "
        "{params.control} --processes {threads} --comparison {output.comparison:q} --metrics {output.metrics:q} "
        "> {log:q} 2>&1"


rule compare_planck:
    """Compare the cube's extinction, as far as stars reach, with a HEALPix map of dust."""
    input:
        cube=f"{RESULTS}/cube.nc",
        map=lambda wildcards: MAPS[wildcards.name].path,
    output:
        comparison=f"{RESULTS}/comparisons/planck_{{name}}.nc",
        metrics=f"{RESULTS}/comparisons/planck_{{name}}.json",
    log:
        f"{RESULTS}/logs/compare_planck/{{name}}.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code_digest("compare_planck"),
        settings=SETTINGS.section_json("compare", "dust"),
        seed=SEED,
    shell:
        "python -m galcarto compare_planck --settings {params.settings:q} --seed {params.seed} "
        "--name {wildcards.name:q} --cube {input.cube:q} --map {input.map:q} --comparison {output.comparison:q} "
        "--metrics {output.metrics:q} > {log:q} 2>&1"


rule collect_metrics:
    """Collect the numbers of all comparisons in one file."""
    input:
        cube=f"{RESULTS}/cube.nc",
        history=f"{RESULTS}/network/history.csv",
        parts=expand(f"{RESULTS}/comparisons/{{comparison}}.json", comparison=COMPARISONS),
    output:
        f"{RESULTS}/metrics.json",
    log:
        f"{RESULTS}/logs/collect_metrics.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest("collect_metrics"),
    shell:
        "python -m galcarto collect_metrics --cube {input.cube:q} --history {input.history:q} "
        "--parts {input.parts:q} --output {output:q} > {log:q} 2>&1"
