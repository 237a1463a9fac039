# Settings, names and input functions.

import re
import shlex
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import validate

from galcarto.absorbers.settings import Settings as AbsorberSettings
from galcarto.core.errors import UserError
from galcarto.core.provenance import code_digest
from galcarto.core.settings import load, load_yaml, stage_sections
from galcarto.core.sky import sightline_position
from galcarto.dustmap.ablation import variants
from galcarto.dustmap.settings import check_merge, read_settings
from galcarto.galaxy.components import table_digest
from galcarto.labels.settings import is_band
from galcarto.metallicity.settings import Settings as MetallicitySettings
from galcarto.spectra.settings import Settings as SpectraSettings

# sister tasks, whose settings are files of their own: no key of theirs enters a region's settings
SISTERS = {name: config.pop(name, f"config/{name}.yaml") for name in ("metallicity", "spectra", "absorbers")}

try:
    FILES = {Path(path).resolve(): load_yaml(path) for path in workflow.configfiles}
    # the default file is not among those of the command line, which are merged into it unless they replace it
    GIVEN = [Path(path).resolve() for path in workflow.overwrite_configfiles]
    DEFAULT = next((content for path, content in FILES.items() if path not in GIVEN), None)
    if GIVEN and DEFAULT and not workflow.config_settings.replace_workflow_config:
        if merged := check_merge(DEFAULT, workflow.config_settings.overwrite_config):
            logger.warning(merged)
    SETTINGS = read_settings(config)
    GALAXY_TABLE = table_digest(SETTINGS.galaxy.model)
    STARS = load(SISTERS["metallicity"], MetallicitySettings)
    SPECTRA = load(SISTERS["spectra"], SpectraSettings)
    ABSORBERS = load(SISTERS["absorbers"], AbsorberSettings)
except UserError as error:
    raise WorkflowError(f"The settings cannot be used.\n{error}") from None
validate(config, "../config/schema.json", set_default=False)

RESULTS = f"results/{SETTINGS.region}"
SEED = SETTINGS.seed
STRIPS = SETTINGS.sky.strips(SETTINGS.tile.size)
CONTROL = [] if SETTINGS.control is None else f"{RESULTS}/control.json"
OFFLINE = "--offline" if SETTINGS.sky.offline else ""
SYNTHETIC = SETTINGS.sky.source == "synthetic"
MAPS = {entry.name: entry for entry in SETTINGS.compare.planck}
PUBLISHED = {entry.name: entry.path for entry in SETTINGS.compare.maps}
EXCESS = SETTINGS.control is not None and bool(MAPS)
STRUCTURE = SETTINGS.compare.structure
LIMIT = ["limit"] if SETTINGS.compare.limit is not None else []
TRACERS = f"{RESULTS}/tracers.nc" if SETTINGS.tracers.masers or SETTINGS.tracers.hii else []
# existing files of tracers
TRACER_FILES = [path for path in (*SETTINGS.tracers.masers, SETTINGS.tracers.hii) if path and Path(path).is_file()]
COMPARISONS = [
    "heldout",
    *LIMIT,
    "prior",
    "artefacts",
    "arms",
    *(["truth"] if SYNTHETIC else []),
    *(f"planck_{name}" for name in MAPS),
    *(f"map_{name}" for name in PUBLISHED),
    *(["excess"] if EXCESS else []),
    *(["structure"] if STRUCTURE else []),
    *(["surveys", "information"] if len(SETTINGS.surveys) > 1 else []),
]
FIGURES = [
    f"{RESULTS}/figures/{name}.png"
    for name in (
        "cmds",
        *(["control"] if CONTROL else []),
        "prior",
        "training",
        "profiles",
        "contraction",
        "trust",
        "calibration",
        "errors",
        *LIMIT,
        "faceon",
        "arms",
        "artefacts",
        *(f"planck_{name}" for name in MAPS),
        *(f"map_{name}" for name in PUBLISHED),
        *(["structure"] if STRUCTURE else []),
        *(["surveys"] if len(SETTINGS.surveys) > 1 else []),
    )
]
CAPTIONS = sorted(
    str(path.relative_to(workflow.basedir)) for path in Path(workflow.basedir, "rules/captions").iterdir()
)
# forms in which the cube is published
FORMS = {
    "zarr": f"{RESULTS}/cube.zarr",
    "healpix": f"{RESULTS}/cube_healpix.nc",
    "cartesian": f"{RESULTS}/cartesian.nc",
    "footprint": f"{RESULTS}/footprint.moc.fits",
    "fits": [f"{RESULTS}/{name}.fits" for name in ("cube", "cube_healpix", "cube_sightlines")],
}
# variants of the ablation
VARIANTS = variants(SETTINGS)
SIGHTLINES = [*SETTINGS.sightlines.names("train"), *SETTINGS.sightlines.names("test")]
STAR_LISTS = expand(f"{RESULTS}/stars/{{name}}.parquet", name=SIGHTLINES)
# variants whose mock Galaxy is not the region's have their own star lists and references
MOCKS = {variant.mock: variant for variant in VARIANTS.values() if variant.mock}

# the metallicity task
LABELS = f"results/{STARS.name}"
LABEL_FIGURES = ["labels_truth", "labels_residuals", "labels_calibration", "labels_missing", "labels_gravity"]
# a map needs positions and distances: tables of colours alone have neither
MAPPED = STARS.source == "mock" or ("longitude" in STARS.stars.columns and any(map(is_band, STARS.features())))
# the stars' colour excess beside a cube
EXCESSES = ["label_profiles"] if MAPPED and STARS.cube else []
LABEL_CAPTIONS = sorted(
    str(path.relative_to(workflow.basedir)) for path in Path(workflow.basedir, "rules/label_captions").iterdir()
)
TRAININGS = STARS.variants()

# the spectra task
SPECTRA_FOLDER = f"results/{SPECTRA.name}"
TRIED = [
    f"{SPECTRA_FOLDER}/trials/{name}/{number}.json"
    for name, trial in SPECTRA.trials.items()
    for number in range(min(trial.seeds or SPECTRA.seeds, SPECTRA.seeds))
]
COMPARED = expand(
    f"{SPECTRA_FOLDER}/baselines/{{stars}}/{{number}}.json", stars=SPECTRA.baselines, number=range(SPECTRA.seeds)
)
EMULATED = expand(f"{SPECTRA_FOLDER}/emulations/{{emulation}}.json", emulation=SPECTRA.emulations)
# a figure, and the files that it shows
DRAWN = {
    "predictions": ["test.parquet", "curves.nc"],
    "calibration": ["curves.nc"],
    "errors": ["curves.nc"],
    "jacobian": ["explanation.nc"],
    "hidden": ["explanation.nc"],
    **({"abundances": ["test.parquet"]} if {"fe_h", "alpha_m"} <= set(SPECTRA.table.labels) else {}),
    **(
        {"learning": ["metrics.json"]}
        if SPECTRA.baselines and any(one.stars for one in SPECTRA.trials.values())
        else {}
    ),
    **({f"bounds_{name}": [f"emulations/{name}.nc"] for name in SPECTRA.emulations}),
    **({f"gap_{SPECTRA.gap}": [f"emulations/{SPECTRA.gap}.nc"]} if SPECTRA.gap in SPECTRA.emulations else {}),
}

# the absorbers task
ABSORBER_FOLDER = f"results/{ABSORBERS.name}"
SCORED = expand(
    f"{ABSORBER_FOLDER}/scores/ours/{{number}}/{{mock}}.json", number=range(ABSORBERS.seeds), mock=ABSORBERS.mocks()
)
SCORED += [
    f"{ABSORBER_FOLDER}/scores/{name}/{number}/hard.json"
    for name, trial in ABSORBERS.trials.items()
    for number in range(min(trial.seeds or ABSORBERS.seeds, ABSORBERS.seeds))
]
# real spectra that are there
REAL_SPECTRA = [path for path in ABSORBERS.spectra if Path(path).exists()]
KNOWN_ABSORBERS = [path for path in [ABSORBERS.catalogue] if path and Path(path).is_file()]
# a figure, and the files that it shows
ABSORBER_FIGURES = {
    "sightlines": ["scores/ours/0/hard.nc"],
    "real": ["drawn.nc"],
    "completeness": ["scores/ours/0/hard.parquet", "scores/ours/0/hard.json"],
    "columns": ["scores/ours/0/hard.parquet", "scores/ours/0/hard.json"],
    "calibration": ["metrics.json"],
    "thresholds": ["metrics.json"],
    "numbers": ["metrics.json"],
    **({"ablation": ["metrics.json"]} if ABSORBERS.ablation else {}),
}


wildcard_constraints:
    split="train|valid|test",
    sightline=r"l\d{3}\.\d{3}_b[+-]\d{2}\.\d{3}",
    shard=r"|\.\d{4}",
    strip=r"\d{4}",
    name="[A-Za-z0-9_-]+",


def figure(name, folder=f"{RESULTS}/figures"):
    """PNG of a figure, for the report, and its PDF."""
    return [f"{folder}/{name}.png", f"{folder}/{name}.pdf"]


def stage(name):
    """Parameters that run a stage, namely its name, the digest of its code, and the settings that it takes."""
    settings = {"settings": SETTINGS.for_stage(name)} if stage_sections(name) else {}
    return {"stage": name, "code": code_digest(name)} | settings


def growing(mb):
    """Memory in MB that grows with each attempt, for jobs that were killed for lack of memory."""
    return lambda wildcards, attempt: mb * attempt


def examples(split):
    """Files of rendered examples of a split: one for each sightline, or several shards."""
    parts = SETTINGS.examples.parts(split)
    shards = [""] if len(parts) == 1 else [f".{shard:04d}" for shard in range(len(parts))]
    return [f"{RESULTS}/cmds/{split}/{name}{shard}.nc" for name in SETTINGS.sightlines.names(split) for shard in shards]


def positions_of_stars(wildcards, output):
    """Options with the positions of the star lists that a job draws."""
    positions = [sightline_position(Path(path).stem) for path in output]
    return " ".join(f"--{axis} {' '.join(map(str, values))}" for axis, values in zip("lb", zip(*positions)))


def files_of_examples(wildcards, output):
    """Options with the origin of each file of `examples` that a job renders."""
    rows = []
    for path in map(Path, output):
        split, (sightline, shard) = path.parent.name, re.fullmatch(r"(l.{7}_b.{7})\.?(\d*)", path.stem).groups()
        first, number = SETTINGS.examples.parts(split)[int(shard or 0)]
        first += SETTINGS.sightlines.names(split).index(sightline) * per_sightline(split)
        folder = shlex.quote(RESULTS)
        rows.append((split, f"{folder}/stars/{sightline}.parquet", f"{folder}/profiles/{split}.nc", first, number))
    names = ("split", "stars", "profiles", "first", "number")
    return " ".join(f"--{name} {' '.join(map(str, values))}" for name, values in zip(names, zip(*rows)))


def map_file(name):
    """File of a HEALPix map: a local one, or the one that is fetched."""
    return MAPS[name].path or f"{RESULTS}/planck/{name}.fits"


def map_memory(wildcards, attempt):
    """Memory in MB for a published map, which is read whole; estimated from the sizes of its arrays."""
    return attempt * {"bayestar19": 16000, "edenhofer24": 8000}.get(wildcards.name, 4000)


def option(name):
    """The option of a stage for an optional input."""
    return lambda wildcards, input: f"--{name} {input[name]}" if input[name] else ""


def input_options(wildcards, input):
    """The options of a stage that are named as the rule's inputs."""
    return " ".join(
        f"--{name} {shlex.join([files] if isinstance(files, str) else files)}" for name, files in input.items() if files
    )


def per_sightline(split):
    """Examples of a split on each sightline."""
    return getattr(SETTINGS.examples, split)


def mock_control(wildcards):
    """Corrections from the control field, if a mock uses them."""
    return CONTROL if MOCKS[wildcards.mock].control else []


def variant_stars(wildcards):
    """Star lists of a variant's training sightlines."""
    mock = VARIANTS[wildcards.variant].mock
    folder = f"{RESULTS}/ablation/{mock}" if mock else RESULTS
    return [f"{folder}/stars/{name}.parquet" for name in SETTINGS.sightlines.names("train")]


def variant_references(wildcards):
    """References of a variant that differ from those of the sky."""
    mock = VARIANTS[wildcards.variant].mock
    return f"{RESULTS}/ablation/{mock}/references.nc" if mock else []


def variant_control(wildcards):
    """Corrections from the control field, if a variant uses them."""
    return CONTROL if VARIANTS[wildcards.variant].control else []


def stars_stage(name, settings=STARS):
    """Parameters that run a stage of the task, as `stage` gives those of a region's."""
    return {"code": code_digest(name), "settings": settings.for_stage(name)}


def training_settings(wildcards):
    """Settings of one training: its network is the main one, changed."""
    network, _, _ = TRAININGS[wildcards.training]
    return STARS.model_copy(update={"network": network}).for_stage("train_labels")


def spectra_stage(name):
    """Parameters that run a stage of the task, as `stage` gives those of a region's."""
    return {"code": code_digest(name), "settings": SPECTRA.for_stage(name)}


def trial_settings(wildcards):
    """Settings of one trial: a change of another reruns nothing."""
    own = {wildcards.trial: SPECTRA.trials[wildcards.trial]}
    return SPECTRA.model_copy(update={"trials": own}).for_stage("try_spectra")


def emulation_settings(wildcards):
    """Settings of one emulation: a change of another reruns nothing."""
    name = wildcards.emulation
    changes = {"emulations": {name: SPECTRA.emulations[name]}, "gap": name if SPECTRA.gap == name else None}
    return SPECTRA.model_copy(update=changes).for_stage("emulate_spectra")


def own_seed(wildcards):
    """Seed of one of several trainings."""
    return SPECTRA.seed + int(wildcards.number)


def sample_total(sample):
    """Sightlines of a sample: those that train or validate one network, or a mock that is judged."""
    kind = sample.partition("_")[0]
    return getattr(ABSORBERS.examples, kind if kind in ("train", "valid") else "test")


def sample_files(sample):
    """Files of a sample's sightlines."""
    parts = -(-sample_total(sample) // ABSORBERS.examples.part)
    return [f"{ABSORBER_FOLDER}/sightlines/{sample}/{part:04d}.nc" for part in range(parts)]


def sample_number(wildcards):
    """Sightlines of one file."""
    left = sample_total(wildcards.sample) - int(wildcards.part) * ABSORBERS.examples.part
    return min(left, ABSORBERS.examples.part)


def sample_settings(wildcards):
    """Settings of the mock of a sample."""
    mock = ABSORBERS.mocks().get(wildcards.sample, ABSORBERS.mock)
    return ABSORBERS.model_copy(update={"mock": mock}).for_stage("simulate_sightlines")


def finding_settings(wildcards):
    """Settings of one training of the absorbers task."""
    trial = "" if wildcards.finding == "ours" else wildcards.finding
    return ABSORBERS.trained(trial).for_stage("train_absorbers")
