# Datasets -> figures, the report and the explorer.
# in:  cmds, history, cube, faceon, comparisons, metrics
# out: figures/*.png, figures/*.pdf, report.html, explorer.html


rule plot_cmds:
    """Draw the gallery of bare, extincted and observed diagrams."""
    input:
        examples=examples("test")[0],
        sky=f"{RESULTS}/sky/cmds.nc",
    output:
        figure("cmds", "Mocks and prior"),
    log:
        f"{RESULTS}/logs/plot_cmds.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_cmds"),
    shell:
        "python -m galcarto plot_cmds --examples {input.examples:q} --sky {input.sky:q} "
        "--output {output:q} > {log:q} 2>&1"


rule plot_training:
    """Draw the training history."""
    input:
        history=f"{RESULTS}/network/history.csv",
    output:
        figure("training", "Training and calibration"),
    log:
        f"{RESULTS}/logs/plot_training.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_training"),
    shell:
        "python -m galcarto plot_training --history {input.history:q} " "--output {output:q} > {log:q} 2>&1"


rule plot_profiles:
    """Draw profiles of single sightlines with their errors."""
    input:
        cube=f"{RESULTS}/cube.nc",
        truth=[f"{RESULTS}/sky/truth.nc"] if SYNTHETIC else [],
    output:
        figure("profiles", "The map"),
    log:
        f"{RESULTS}/logs/plot_profiles.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_profiles"),
        truth=lambda wildcards, input: f"--truth {input.truth}" if input.truth else "",
    shell:
        "python -m galcarto plot_profiles --cube {input.cube:q} {params.truth} " "--output {output:q} > {log:q} 2>&1"


rule plot_calibration:
    """Draw coverage against what is claimed."""
    input:
        heldout=f"{RESULTS}/comparisons/heldout.nc",
    output:
        figure("calibration", "Training and calibration"),
    log:
        f"{RESULTS}/logs/plot_calibration.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_calibration"),
    shell:
        "python -m galcarto plot_calibration --heldout {input.heldout:q} " "--output {output:q} > {log:q} 2>&1"


rule plot_errors:
    """Draw errors against distance."""
    input:
        heldout=f"{RESULTS}/comparisons/heldout.nc",
        truth=[f"{RESULTS}/comparisons/truth.nc"] if SYNTHETIC else [],
    output:
        figure("errors", "Training and calibration"),
    log:
        f"{RESULTS}/logs/plot_errors.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_errors"),
        truth=lambda wildcards, input: f"--truth {input.truth}" if input.truth else "",
    shell:
        "python -m galcarto plot_errors --heldout {input.heldout:q} {params.truth} "
        "--output {output:q} > {log:q} 2>&1"


rule plot_limit:
    """Draw the network's error beside the information limit and colour excesses."""
    input:
        comparison=f"{RESULTS}/comparisons/limit.nc",
    output:
        figure("limit", "Training and calibration"),
    log:
        f"{RESULTS}/logs/plot_limit.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_limit"),
    shell:
        "python -m galcarto plot_limit --comparison {input.comparison:q} " "--output {output:q} > {log:q} 2>&1"


rule plot_plane:
    """Draw the plane of the sky beside a Planck map."""
    input:
        comparison=f"{RESULTS}/comparisons/planck_{{name}}.nc",
        excess=[f"{RESULTS}/comparisons/excess.nc"] if EXCESS else [],
    output:
        figure("planck_{name}", "Comparisons"),
    log:
        f"{RESULTS}/logs/plot_plane/{{name}}.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_plane"),
        excess=lambda wildcards, input: f"--excess {input.excess}" if input.excess else "",
    shell:
        "python -m galcarto plot_plane --comparison {input.comparison:q} {params.excess} "
        "--output {output:q} > {log:q} 2>&1"


rule plot_map:
    """Draw the differences from a published map in three dimensions."""
    input:
        comparison=f"{RESULTS}/comparisons/map_{{name}}.nc",
    output:
        figure("map_{name}", "Comparisons"),
    log:
        f"{RESULTS}/logs/plot_map/{{name}}.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_map"),
    shell:
        "python -m galcarto plot_map --comparison {input.comparison:q} --output {output:q} > {log:q} 2>&1"


rule plot_faceon:
    """Draw the face-on view with the Sun, rings and arms."""
    input:
        faceon=f"{RESULTS}/faceon.nc",
        tracers=TRACERS,
    output:
        figure("faceon", "The map"),
    log:
        f"{RESULTS}/logs/plot_faceon.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_faceon"),
        arms=SETTINGS.tracers.arms,
        tracers=tracers_option,
    shell:
        "python -m galcarto plot_faceon --faceon {input.faceon:q} --arms {params.arms} {params.tracers} "
        "--output {output:q} > {log:q} 2>&1"


rule plot_control:
    """Draw the control field's diagrams: observed, mock and fitted."""
    input:
        comparison=f"{RESULTS}/comparisons/control.nc",
    output:
        figure("control", "Mocks and prior"),
    log:
        f"{RESULTS}/logs/plot_control.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_control"),
    shell:
        "python -m galcarto plot_control --comparison {input.comparison:q} " "--output {output:q} > {log:q} 2>&1"


rule plot_prior:
    """Draw the prior over profiles beside published statistics."""
    input:
        prior=f"{RESULTS}/comparisons/prior.nc",
    output:
        figure("prior", "Mocks and prior"),
    log:
        f"{RESULTS}/logs/plot_prior.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_prior"),
    shell:
        "python -m galcarto plot_prior --prior {input.prior:q} " "--output {output:q} > {log:q} 2>&1"


rule plot_contraction:
    """Draw where the posterior is narrower than the prior."""
    input:
        strips=expand(f"{RESULTS}/sightlines/{{strip}}.nc", strip=STRIPS),
        cube=f"{RESULTS}/cube.nc",
        prior=f"{RESULTS}/comparisons/prior.nc",
    output:
        figure("contraction", "The map"),
    log:
        f"{RESULTS}/logs/plot_contraction.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_contraction"),
    shell:
        "python -m galcarto plot_contraction --strips {input.strips:q} --cube {input.cube:q} --prior {input.prior:q} "
        "--output {output:q} > {log:q} 2>&1"


rule plot_trust:
    """Draw maps of what says how far each tile can be trusted."""
    input:
        cube=f"{RESULTS}/cube.nc",
    output:
        figure("trust", "The map"),
    log:
        f"{RESULTS}/logs/plot_trust.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_trust"),
    shell:
        "python -m galcarto plot_trust --cube {input.cube:q} " "--output {output:q} > {log:q} 2>&1"


rule plot_arms:
    """Draw the dust on spiral arms and at their tracers against the dust elsewhere."""
    input:
        comparison=f"{RESULTS}/comparisons/arms.nc",
    output:
        figure("arms", "Comparisons"),
    log:
        f"{RESULTS}/logs/plot_arms.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_arms"),
    shell:
        "python -m galcarto plot_arms --comparison {input.comparison:q} --output {output:q} > {log:q} 2>&1"


rule plot_artefacts:
    """Draw fingers of God, tiling, stripes and steps at the grid's ends."""
    input:
        comparison=f"{RESULTS}/comparisons/artefacts.nc",
    output:
        figure("artefacts", "The map"),
    log:
        f"{RESULTS}/logs/plot_artefacts.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_artefacts"),
    shell:
        "python -m galcarto plot_artefacts --comparison {input.comparison:q} --output {output:q} > {log:q} 2>&1"


rule plot_structure:
    """Draw where along the sightline the dust of the thickest tiles stands."""
    input:
        comparison=f"{RESULTS}/comparisons/structure.nc",
    output:
        figure("structure", "Comparisons"),
    log:
        f"{RESULTS}/logs/plot_structure.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_structure"),
    shell:
        "python -m galcarto plot_structure --comparison {input.comparison:q} " "--output {output:q} > {log:q} 2>&1"


rule plot_surveys:
    """Draw what each survey says alone, and both together."""
    input:
        comparison=f"{RESULTS}/comparisons/surveys.nc",
    output:
        figure("surveys", "Comparisons"),
    log:
        f"{RESULTS}/logs/plot_surveys.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_surveys"),
    shell:
        "python -m galcarto plot_surveys --comparison {input.comparison:q} " "--output {output:q} > {log:q} 2>&1"


rule report:
    """Write one page with every figure and number."""
    input:
        metrics=f"{RESULTS}/metrics.json",
        cube=f"{RESULTS}/cube.nc",
        figures=FIGURES,
        captions=CAPTIONS,
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("report"),
    shell:
        "python -m galcarto report --metrics {input.metrics:q} --figures {input.figures:q} --captions {input.captions:q} "
        "--cube {input.cube:q} --output {output:q} > {log:q} 2>&1"


rule explorer:
    """Write the explorer: one page to look into the map with mouse or keyboard, readable offline."""
    input:
        cube=f"{RESULTS}/cube.nc",
        faceon=f"{RESULTS}/faceon.nc",
        sky=f"{RESULTS}/sky/cmds.nc",
        fits=expand(f"{RESULTS}/sightlines/{{strip}}_fit.nc", strip=STRIPS),
        truth=[f"{RESULTS}/sky/truth.nc"] if SYNTHETIC else [],
    output:
        f"{RESULTS}/explorer.html",
    log:
        f"{RESULTS}/logs/explorer.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("explorer"),
        truth=lambda wildcards, input: f"--truth {input.truth}" if input.truth else "",
    shell:
        "python -m galcarto explorer --cube {input.cube:q} --faceon {input.faceon:q} --sky {input.sky:q} "
        "--fits {input.fits:q} {params.truth} --output {output:q} > {log:q} 2>&1"
