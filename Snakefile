# Galcarto: the Milky Way's dust in three dimensions, from star counts alone.
# 'snakemake --cores all' maps the region of config/config.yaml; 'snakemake --list' shows the rules.

import os

# Snakemake (9.27) does not pass --replace-workflow-config to the jobs of a cluster, which would use other settings than
# the run that submits them; they inherit its environment
if workflow.config_settings.replace_workflow_config:
    os.environ.update(GALCARTO_REPLACE_CONFIG="1")
workflow.config_settings.replace_workflow_config = "GALCARTO_REPLACE_CONFIG" in os.environ


configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/simulate.smk"
include: "rules/train.smk"
include: "rules/sky.smk"
include: "rules/maps.smk"
include: "rules/publish.smk"
include: "rules/compare.smk"
include: "rules/figures.smk"
include: "rules/validate.smk"
include: "rules/ablation.smk"
include: "rules/metallicity.smk"
include: "rules/spectra.smk"
include: "rules/absorbers.smk"


rule all:
    """Everything: cube in its forms, face-on view, metrics, figures, report."""
    default_target: True
    input:
        f"{RESULTS}/cube.nc",
        f"{RESULTS}/faceon.nc",
        [FORMS[form] for form in SETTINGS.publish.forms],
        f"{RESULTS}/metrics.json",
        f"{RESULTS}/report.html",
        f"{RESULTS}/explorer.html",
        FIGURES,
    localrule: True


rule validate_galaxy:
    """Validate the mock Galaxy with the Besançon model and the literature: numbers and figures."""
    input:
        f"{GALAXY}/metrics.json",
        f"{GALAXY}/validation.nc",
        GALAXY_FIGURES,
    localrule: True


rule measure_surveys:
    """Measure the surveys from the observed catalogues that exist: tables, numbers and figures."""
    input:
        expand(f"{SURVEYS}/{{survey}}.{{kind}}", survey=MEASURED, kind=["yaml", "json", "nc"]),
        expand(f"{SURVEYS}/figures/{{survey}}_{{kind}}.png", survey=MEASURED, kind=["errors", "completeness"]),
    localrule: True
    message:
        f"Surveys measured: {', '.join(MEASURED) or 'none'}; "
        f"catalogues not found, their surveys left out: {', '.join(ABSENT) or 'none'}."


rule ablation:
    """Quantify the effect of each part of the mock: a table and a figure."""
    input:
        f"{RESULTS}/ablation.csv",
        f"{RESULTS}/ablation.md",
        f"{RESULTS}/figures/ablation.png",
    localrule: True


rule metallicity:
    """Metallicities of stars from their colours, and their map: 'snakemake --cores 2 metallicity'."""
    input:
        f"{LABELS}/labels.parquet",
        f"{LABELS}/metrics.json",
        f"{LABELS}/report.html",
        [f"{LABELS}/map.nc"] if MAPPED else [],
    localrule: True


rule spectra:
    """Stellar parameters and abundances from spectra: 'snakemake --cores 2 spectra'."""
    input:
        f"{SPECTRA_FOLDER}/labels.parquet",
        f"{SPECTRA_FOLDER}/metrics.json",
        f"{SPECTRA_FOLDER}/report.html",
        expand(f"{SPECTRA_FOLDER}/figures/{{drawn}}.png", drawn=DRAWN),
    localrule: True


rule absorbers:
    """Damped absorbers in quasar spectra: 'snakemake --cores 2 absorbers'."""
    input:
        f"{ABSORBER_FOLDER}/absorbers.parquet",
        f"{ABSORBER_FOLDER}/metrics.json",
        f"{ABSORBER_FOLDER}/report.html",
        expand(f"{ABSORBER_FOLDER}/figures/{{shown}}.png", shown=ABSORBER_FIGURES),
    localrule: True


rule search:
    """Search the settings of the network from spectra: a table and a figure; it needs the extra 'search'."""
    input:
        f"{SPECTRA_FOLDER}/search.csv",
        f"{SPECTRA_FOLDER}/figures/search.png",
    localrule: True
