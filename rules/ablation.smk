# What each part of the mock buys: 'snakemake --cores 2 ablation', no part of 'all'. Each variant trains a small network.
# in:  settings, stars/, cmds/test/, sky/cmds.nc, control.json, HEALPix maps
# out: ablation/{variant}.json, ablation.csv, ablation.md, figures/ablation.png, figures/ablation.pdf


wildcard_constraints:
    variant="|".join(VARIANTS),
    mock="|".join(MOCKS) or "none",


rule synthesize_mock_stars:
    """Draw the bare stars of one training sightline for a variant with another mock."""
    input:
        control=mock_control,
    output:
        temp(f"{RESULTS}/ablation/{{mock}}/stars/{{sightline}}.parquet"),
    log:
        f"{RESULTS}/logs/ablation/{{mock}}/stars_{{sightline}}.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=20,
    params:
        code=code_digest("synthesize_stars"),
        settings=lambda wildcards: MOCKS[wildcards.mock].settings.for_stage("synthesize_stars"),
        table=GALAXY_TABLE,
        seed=SEED,
        l=lambda wildcards: sightline_position(wildcards.sightline)[0],
        b=lambda wildcards: sightline_position(wildcards.sightline)[1],
        control=control_option,
    shell:
        "python -m galcarto synthesize_stars --settings {params.settings:q} --seed {params.seed} "
        "{params.control} --l={params.l} --b={params.b} --output {output:q} > {log:q} 2>&1"


rule render_mock_references:
    """Integrate the bare reference diagrams of a strip for a variant with another mock."""
    input:
        control=mock_control,
    output:
        temp(f"{RESULTS}/ablation/{{mock}}/references/{{strip}}.nc"),
    log:
        f"{RESULTS}/logs/ablation/{{mock}}/references_{{strip}}.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        code=code_digest("render_references"),
        settings=lambda wildcards: MOCKS[wildcards.mock].settings.for_stage("render_references"),
        table=GALAXY_TABLE,
        control=control_option,
    shell:
        "NUMBA_NUM_THREADS={threads} python -m galcarto render_references --settings {params.settings:q} "
        "{params.control} --strip {wildcards.strip} --output {output:q} > {log:q} 2>&1"


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
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=60,
    params:
        code=code_digest("ablate"),
        settings=lambda wildcards: VARIANTS[wildcards.variant].settings.for_stage("ablate"),
        table=GALAXY_TABLE,
        seed=SEED,
        title=lambda wildcards: VARIANTS[wildcards.variant].title,
        control=control_option,
    shell:
        "NUMBA_NUM_THREADS={threads} python -m galcarto ablate --settings {params.settings:q} --seed {params.seed} "
        "--variant {wildcards.variant} --title {params.title:q} {params.control} --stars {input.stars:q} "
        "--test {input.test:q} --sky {input.sky:q} --references {input.references:q} --maps {input.maps:q} "
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
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=10,
    params:
        code=code_digest("collect_ablation"),
    shell:
        "python -m galcarto collect_ablation --scores {input:q} --csv {output.csv:q} --markdown {output.markdown:q} "
        "> {log:q} 2>&1"


rule plot_ablation:
    """Draw the scores of the ablation's variants."""
    input:
        table=f"{RESULTS}/ablation.csv",
    output:
        figure("ablation", "Ablation"),
    log:
        f"{RESULTS}/logs/plot_ablation.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_ablation"),
    shell:
        "python -m galcarto plot_ablation --table {input.table:q} --output {output:q} > {log:q} 2>&1"
