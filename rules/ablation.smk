# The ablation, which is not part of 'all': 'snakemake --cores 2 ablation'. Each variant trains a small network.
# in:  settings, stars/, cmds/test/, sky/cmds.nc, control.json, HEALPix maps
# out: ablation/{variant}.json, ablation.csv, ablation.md, figures/ablation.png, figures/ablation.pdf


wildcard_constraints:
    variant="|".join(VARIANTS),
    mock="|".join(MOCKS) or "none",


use rule synthesize_stars as synthesize_mock_stars with:
    """Draw the bare stars of one training sightline for a variant with another mock."""
    input:
        control=mock_control,
    output:
        temp(f"{RESULTS}/ablation/{{mock}}/stars/{{sightline}}.parquet"),
    log:
        f"{RESULTS}/logs/ablation/{{mock}}/stars_{{sightline}}.log",
    params:
        settings=lambda wildcards: MOCKS[wildcards.mock].settings.for_stage("synthesize_stars"),


use rule render_references as render_mock_references with:
    """Integrate the bare reference diagrams for a variant with another mock."""
    input:
        control=mock_control,
    output:
        temp(f"{RESULTS}/ablation/{{mock}}/references.nc"),
    log:
        f"{RESULTS}/logs/ablation/{{mock}}/references.log",
    params:
        settings=lambda wildcards: MOCKS[wildcards.mock].settings.for_stage("render_references"),


rule ablate:
    """Train a small network without one part of the mock, and score it."""
    input:
        stars=variant_stars,
        control=variant_control,
        test=examples("test"),
        sky=f"{RESULTS}/sky/cmds.nc",
        references=variant_references,
        maps=[map_file(name) for name in MAPS],
    output:
        f"{RESULTS}/ablation/{{variant}}.json",
    log:
        f"{RESULTS}/logs/ablation/{{variant}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/ablation/{{variant}}.tsv"
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(6000),
        runtime=60,
    params:
        code=code_digest("ablate"),
        settings=lambda wildcards: VARIANTS[wildcards.variant].settings.for_stage("ablate"),
        table=GALAXY_TABLE,
        seed=SEED,
        title=lambda wildcards: VARIANTS[wildcards.variant].title,
        control=option("control"),
        references=option("references"),
    shell:
        "NUMBA_NUM_THREADS={threads} python -m galcarto ablate --settings {params.settings:q} --seed {params.seed} "
        "--variant {wildcards.variant} --title {params.title:q} {params.control} --stars {input.stars:q} "
        "--test {input.test:q} --sky {input.sky:q} {params.references} --maps {input.maps:q} "
        "--output {output:q} > {log:q} 2>&1"


rule collect_ablation:
    """Collect the scores of the ablation's variants in one table."""
    input:
        expand(f"{RESULTS}/ablation/{{variant}}.json", variant=VARIANTS),
    output:
        csv=f"{RESULTS}/ablation.csv",
        markdown=f"{RESULTS}/ablation.md",
    log:
        f"{RESULTS}/logs/collect_ablation.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=10,
    params:
        **stage("collect_ablation"),
    shell:
        "python -m galcarto collect_ablation --scores {input:q} --csv {output.csv:q} --markdown {output.markdown:q} "
        "> {log:q} 2>&1"


use rule plot_cmds as plot_ablation with:
    """Draw the scores of the ablation's variants."""
    input:
        table=f"{RESULTS}/ablation.csv",
    output:
        figure("ablation"),
    log:
        f"{RESULTS}/logs/plot_ablation.log",
    params:
        **stage("plot_ablation"),
