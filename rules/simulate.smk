# Mock stars and dust -> examples.
# in:  settings
# out: stars/{sightline}.parquet, profiles/{split}.nc, cmds/{split}/{sightline}{shard}.nc


rule synthesize_stars:
    """Draw the bare stars of one training or test sightline."""
    input:
        control=CONTROL,
    output:
        f"{RESULTS}/stars/{{sightline}}.parquet",
    log:
        f"{RESULTS}/logs/synthesize_stars/{{sightline}}.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=20,
    params:
        **stage("synthesize_stars"),
        table=GALAXY_TABLE,
        seed=SEED,
        positions=positions_of_stars,
        control=option("control"),
    shell:
        "python -m galcarto synthesize_stars --settings {params.settings:q} --seed {params.seed} "
        "{params.control} {params.positions} --output {output:q} > {log:q} 2>&1"


rule draw_profiles:
    """Draw the random extinction profiles of one split."""
    output:
        f"{RESULTS}/profiles/{{split}}.nc",
    log:
        f"{RESULTS}/logs/draw_profiles/{{split}}.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        **stage("draw_profiles"),
        seed=SEED,
        number=lambda wildcards: per_sightline(wildcards.split) * len(SETTINGS.sightlines.names(wildcards.split)),
    shell:
        "python -m galcarto draw_profiles --settings {params.settings:q} --seed {params.seed} "
        "--split {wildcards.split} --number {params.number} --output {output:q} > {log:q} 2>&1"


rule render_cmds:
    """Render the colour-magnitude images of one split and sightline, or a shard of them."""
    input:
        stars=f"{RESULTS}/stars/{{sightline}}.parquet",
        profiles=f"{RESULTS}/profiles/{{split}}.nc",
        control=CONTROL,
    output:
        f"{RESULTS}/cmds/{{split}}/{{sightline}}{{shard}}.nc",
    log:
        f"{RESULTS}/logs/render_cmds/{{split}}_{{sightline}}{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/render_cmds/{{split}}_{{sightline}}{{shard}}.tsv"
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=120,
    params:
        **stage("render_cmds"),
        table=GALAXY_TABLE,
        seed=SEED,
        control=option("control"),
        files=files_of_examples,
        references=lambda wildcards, input: f"--references {input.references}" if "references" in input.keys() else "",
    shell:
        "NUMBA_NUM_THREADS={threads} python -m galcarto render_cmds --settings {params.settings:q} --seed {params.seed} "
        "{params.files} {params.control} {params.references} --output {output:q} > {log:q} 2>&1"


if SETTINGS.examples.together:

    ruleorder: synthesize_together > synthesize_stars
    ruleorder: render_together > render_cmds

    use rule synthesize_stars as synthesize_together with:
        """Draw the bare stars of all training and test sightlines."""
        output:
            STAR_LISTS,
        log:
            f"{RESULTS}/logs/synthesize_stars.log",

    use rule render_cmds as render_together with:
        """Render all colour-magnitude images."""
        input:
            stars=STAR_LISTS,
            references=f"{RESULTS}/references.nc",
            profiles=expand(f"{RESULTS}/profiles/{{split}}.nc", split=["train", "valid", "test"]),
            control=CONTROL,
        output:
            [examples(split) for split in ("train", "valid", "test")],
        log:
            f"{RESULTS}/logs/render_cmds.log",
        benchmark:
            f"{RESULTS}/benchmarks/render_cmds.tsv"
        threads: 2

elif SETTINGS.examples.shards == 1:

    ruleorder: render_learnt > render_cmds

    # one start of Python and one bare diagram for both
    use rule render_cmds as render_learnt with:
        """Render the training and validation images of one sightline."""
        input:
            stars=f"{RESULTS}/stars/{{sightline}}.parquet",
            profiles=expand(f"{RESULTS}/profiles/{{split}}.nc", split=["train", "valid"]),
            control=CONTROL,
        output:
            f"{RESULTS}/cmds/train/{{sightline}}.nc",
            f"{RESULTS}/cmds/valid/{{sightline}}.nc",
        log:
            f"{RESULTS}/logs/render_cmds/{{sightline}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/render_cmds/{{sightline}}.tsv"
