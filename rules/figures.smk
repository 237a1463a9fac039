# Datasets -> figures, the report and the explorer.
# in:  cmds, history, cube, faceon, comparisons, metrics
# out: figures/*.png, figures/*.pdf, report.html, explorer.html


rule plot_cmds:
    """Draw the gallery of bare, extincted and observed diagrams."""
    input:
        examples=examples("test")[0],
        sky=f"{RESULTS}/sky/cmds.nc",
    output:
        figure("cmds"),
    log:
        f"{RESULTS}/logs/plot_cmds.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        **stage("plot_cmds"),
        files=input_options,
    shell:
        "python -m galcarto {params.stage} {params.files} --output {output:q} > {log:q} 2>&1"


use rule plot_cmds as plot_training with:
    """Draw the training history."""
    input:
        history=f"{RESULTS}/network/history.csv",
    output:
        figure("training"),
    log:
        f"{RESULTS}/logs/plot_training.log",
    params:
        **stage("plot_training"),


use rule plot_cmds as plot_profiles with:
    """Draw the extinction profiles of single sightlines with their errors."""
    input:
        cube=f"{RESULTS}/cube.nc",
        truth=[f"{RESULTS}/sky/truth.nc"] if SYNTHETIC else [],
    output:
        figure("profiles"),
    log:
        f"{RESULTS}/logs/plot_profiles.log",
    params:
        **stage("plot_profiles"),


use rule plot_cmds as plot_calibration with:
    """Draw the coverage of credible intervals against their nominal level."""
    input:
        heldout=f"{RESULTS}/comparisons/heldout.nc",
    output:
        figure("calibration"),
    log:
        f"{RESULTS}/logs/plot_calibration.log",
    params:
        **stage("plot_calibration"),


use rule plot_cmds as plot_errors with:
    """Draw errors against distance."""
    input:
        heldout=f"{RESULTS}/comparisons/heldout.nc",
        truth=[f"{RESULTS}/comparisons/truth.nc"] if SYNTHETIC else [],
    output:
        figure("errors"),
    log:
        f"{RESULTS}/logs/plot_errors.log",
    params:
        **stage("plot_errors"),


use rule plot_cmds as plot_limit with:
    """Draw the error of the network beside the information limit and colour excesses."""
    input:
        comparison=f"{RESULTS}/comparisons/limit.nc",
    output:
        figure("limit"),
    log:
        f"{RESULTS}/logs/plot_limit.log",
    params:
        **stage("plot_limit"),


use rule plot_cmds as plot_plane with:
    """Draw the plane of the sky beside a Planck map."""
    input:
        comparison=f"{RESULTS}/comparisons/planck_{{name}}.nc",
        excess=[f"{RESULTS}/comparisons/excess.nc"] if EXCESS else [],
    output:
        figure("planck_{name}"),
    log:
        f"{RESULTS}/logs/plot_plane/{{name}}.log",
    params:
        **stage("plot_plane"),


use rule plot_cmds as plot_map with:
    """Draw the differences from a published map in three dimensions."""
    input:
        comparison=f"{RESULTS}/comparisons/map_{{name}}.nc",
    output:
        figure("map_{name}"),
    log:
        f"{RESULTS}/logs/plot_map/{{name}}.log",
    params:
        **stage("plot_map"),


use rule plot_cmds as plot_control with:
    """Draw the diagrams of the control field: observed, mock and fitted."""
    input:
        comparison=f"{RESULTS}/comparisons/control.nc",
    output:
        figure("control"),
    log:
        f"{RESULTS}/logs/plot_control.log",
    params:
        **stage("plot_control"),


use rule plot_cmds as plot_prior with:
    """Draw the prior over profiles beside published statistics."""
    input:
        prior=f"{RESULTS}/comparisons/prior.nc",
    output:
        figure("prior"),
    log:
        f"{RESULTS}/logs/plot_prior.log",
    params:
        **stage("plot_prior"),


use rule plot_cmds as plot_contraction with:
    """Draw the posterior contraction: where the posterior is narrower than the prior."""
    input:
        strips=expand(f"{RESULTS}/sightlines/{{strip}}.nc", strip=STRIPS),
        cube=f"{RESULTS}/cube.nc",
        prior=f"{RESULTS}/comparisons/prior.nc",
    output:
        figure("contraction"),
    log:
        f"{RESULTS}/logs/plot_contraction.log",
    params:
        **stage("plot_contraction"),


use rule plot_cmds as plot_trust with:
    """Draw maps of the quantities that show how far each tile can be trusted."""
    input:
        cube=f"{RESULTS}/cube.nc",
    output:
        figure("trust"),
    log:
        f"{RESULTS}/logs/plot_trust.log",
    params:
        **stage("plot_trust"),


use rule plot_cmds as plot_arms with:
    """Draw the dust on spiral arms and at their tracers against the dust elsewhere."""
    input:
        comparison=f"{RESULTS}/comparisons/arms.nc",
    output:
        figure("arms"),
    log:
        f"{RESULTS}/logs/plot_arms.log",
    params:
        **stage("plot_arms"),


use rule plot_cmds as plot_artefacts with:
    """Draw fingers of God, tiling, stripes and steps at the ends of the grid."""
    input:
        comparison=f"{RESULTS}/comparisons/artefacts.nc",
    output:
        figure("artefacts"),
    log:
        f"{RESULTS}/logs/plot_artefacts.log",
    params:
        **stage("plot_artefacts"),


use rule plot_cmds as plot_structure with:
    """Draw the distance of the dust in the tiles of highest extinction."""
    input:
        comparison=f"{RESULTS}/comparisons/structure.nc",
    output:
        figure("structure"),
    log:
        f"{RESULTS}/logs/plot_structure.log",
    params:
        **stage("plot_structure"),


use rule plot_cmds as plot_surveys with:
    """Draw the extinction from each survey alone and from both together."""
    input:
        comparison=f"{RESULTS}/comparisons/surveys.nc",
    output:
        figure("surveys"),
    log:
        f"{RESULTS}/logs/plot_surveys.log",
    params:
        **stage("plot_surveys"),


rule plot_faceon:
    """Draw the face-on view with the Sun, rings and arms."""
    input:
        faceon=f"{RESULTS}/faceon.nc",
        tracers=TRACERS,
    output:
        figure("faceon"),
    log:
        f"{RESULTS}/logs/plot_faceon.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        **stage("plot_faceon"),
        arms="synthetic" if SYNTHETIC else SETTINGS.tracers.arms,  # those of the sky that is drawn
        tracers=option("tracers"),
    shell:
        "python -m galcarto plot_faceon --faceon {input.faceon:q} --arms {params.arms} {params.tracers} "
        "--output {output:q} > {log:q} 2>&1"


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
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        **stage("report"),
    shell:
        "python -m galcarto report --metrics {input.metrics:q} --figures {input.figures:q} --captions {input.captions:q} "
        "--cube {input.cube:q} --output {output:q} > {log:q} 2>&1"


rule explorer:
    """Write the explorer: one page that shows the map interactively, without a network."""
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
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        **stage("explorer"),
        truth=option("truth"),
    shell:
        "python -m galcarto explorer --cube {input.cube:q} --faceon {input.faceon:q} --sky {input.sky:q} "
        "--fits {input.fits:q} {params.truth} --output {output:q} > {log:q} 2>&1"
