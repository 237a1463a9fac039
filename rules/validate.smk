# The mock Galaxy against the Besançon model and the literature: 'snakemake --cores 2 validate_galaxy'.
# in:  settings, and star counts of the Besançon model if the file exists
# out: results/galaxy/metrics.json, validation.nc, figures/*.png, figures/*.pdf
#
# Surveys from observed catalogues: 'snakemake --cores 2 measure_surveys'.
# in:  settings, catalogues of 2MASS and Gaia; a survey is left out if one of its catalogues is missing
# out: results/surveys/{survey}.yaml, {survey}.json, {survey}.nc, figures/{survey}_errors.png, _completeness.png and .pdf

from pathlib import Path

GALAXY = "results/galaxy"
BESANCON = [path for path in [SETTINGS.validation.counts] if path and Path(path).is_file()]
GALAXY_NAMES = [*(["counts"] if BESANCON else []), "luminosity_function", "cmds", "distances", "isochrones"]
GALAXY_FIGURES = [f"{GALAXY}/figures/{name}.png" for name in GALAXY_NAMES]
SURVEYS = "results/surveys"
CATALOGUES = {"2mass": SETTINGS.catalogues.twomass, "gaia": SETTINGS.catalogues.gaia}
ABSENT = [path for paths in CATALOGUES.values() for path in paths if not Path(path).is_file()]
MEASURED = [name for name, paths in CATALOGUES.items() if not set(paths) & set(ABSENT)]


rule measure_galaxy:
    """Compare the mock Galaxy with the Besançon model and the literature."""
    input:
        counts=BESANCON,
    output:
        metrics=f"{GALAXY}/metrics.json",
        validation=f"{GALAXY}/validation.nc",
    log:
        f"{GALAXY}/logs/measure_galaxy.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        **stage("measure_galaxy"),
        table=GALAXY_TABLE,
    shell:
        "python -m galcarto measure_galaxy --settings {params.settings:q} --counts {input.counts:q} "
        "--metrics {output.metrics:q} --output {output.validation:q} > {log:q} 2>&1"


rule plot_galaxy:
    """Draw the validation of the mock Galaxy."""
    input:
        validation=f"{GALAXY}/validation.nc",
    output:
        [figure(name, f"{GALAXY}/figures") for name in GALAXY_NAMES],
    log:
        f"{GALAXY}/logs/plot_galaxy.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        **stage("plot_galaxy"),
    shell:
        "python -m galcarto plot_galaxy --validation {input.validation:q} --output {output:q} > {log:q} 2>&1"


rule measure_survey:
    """Measure a survey's errors and completeness from observed catalogues."""
    input:
        catalogues=lambda wildcards: CATALOGUES[wildcards.survey],
    output:
        table=f"{SURVEYS}/{{survey}}.yaml",
        metrics=f"{SURVEYS}/{{survey}}.json",
        measured=f"{SURVEYS}/{{survey}}.nc",
    log:
        f"{SURVEYS}/logs/measure_{{survey}}.log",
    wildcard_constraints:
        survey="|".join(CATALOGUES),
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        **stage("measure_survey"),
        galaxy=GALAXY_TABLE,
    shell:
        "python -m galcarto measure_survey --survey {wildcards.survey} --settings {params.settings:q} "
        "--catalogues {input.catalogues:q} --table {output.table:q} --metrics {output.metrics:q} "
        "--output {output.measured:q} > {log:q} 2>&1"


rule plot_survey:
    """Draw a survey's errors and completeness."""
    input:
        measured=f"{SURVEYS}/{{survey}}.nc",
    output:
        errors=figure("{survey}_errors", f"{SURVEYS}/figures"),
        completeness=figure("{survey}_completeness", f"{SURVEYS}/figures"),
    log:
        f"{SURVEYS}/logs/plot_{{survey}}.log",
    wildcard_constraints:
        survey="|".join(CATALOGUES),
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        **stage("plot_survey"),
    shell:
        "python -m galcarto plot_survey --survey {wildcards.survey} --measured {input.measured:q} "
        "--errors {output.errors:q} --completeness {output.completeness:q} > {log:q} 2>&1"
