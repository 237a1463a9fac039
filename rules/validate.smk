# The mock Galaxy against the Besançon model and the literature: 'snakemake --cores 2 validate_galaxy'.
# in:  settings, the Besançon model's star counts if they are there
# out: results/galaxy/metrics.json, validation.nc, figures/*.png

from pathlib import Path

GALAXY = "results/galaxy"
BESANCON = [path for path in [SETTINGS.validation.counts] if path and Path(path).is_file()]
GALAXY_FIGURES = [
    f"{GALAXY}/figures/{name}.png"
    for name in (
        *(["counts"] if BESANCON else []),
        "luminosity_function",
        "cmds",
        "distances",
        "isochrones",
    )
]


rule measure_galaxy:
    """Measure the mock Galaxy against the Besançon model and the literature."""
    input:
        counts=BESANCON,
    output:
        metrics=f"{GALAXY}/metrics.json",
        validation=f"{GALAXY}/validation.nc",
    log:
        f"{GALAXY}/logs/measure_galaxy.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        code=code_digest("measure_galaxy"),
        settings=SETTINGS.section_json("galaxy", "validation"),
        table=GALAXY_TABLE,
    shell:
        "python -m galcarto measure_galaxy --settings {params.settings:q} --counts {input.counts:q} "
        "--metrics {output.metrics:q} --output {output.validation:q} > {log:q} 2>&1"


rule plot_galaxy:
    """Draw the checks of the mock Galaxy."""
    input:
        validation=f"{GALAXY}/validation.nc",
    output:
        GALAXY_FIGURES,
    log:
        f"{GALAXY}/logs/plot_galaxy.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        code=code_digest("plot_galaxy"),
    shell:
        "python -m galcarto plot_galaxy --validation {input.validation:q} --output {output:q} > {log:q} 2>&1"
