# Metallicities of stars, a sister task: 'snakemake --cores 2 metallicity'. Its settings are a file of their own:
# config/metallicity.yaml, or that of '--config metallicity=config/my_stars.yaml'.
# in:  mock stars, or a table of stars with colours and labels
# out: results/metallicity/stars.parquet, network/*.pt, labels.parquet, map.nc, metrics.json, figures/*, report.html


wildcard_constraints:
    training="|".join(map(re.escape, TRAININGS)),


if STARS.source == "mock":

    rule simulate_labelled_stars:
        """Draw mock stars of known labels and observe them."""
        output:
            f"{LABELS}/stars.parquet",
        log:
            f"{LABELS}/logs/simulate_labelled_stars.log",
        conda:
            "../envs/galcarto.yaml"
        resources:
            mem_mb=growing(4000),
            runtime=60,
        params:
            **stars_stage("simulate_labelled_stars"),
            table=table_digest(STARS.galaxy.model),
            seed=STARS.seed,
        shell:
            "NUMBA_NUM_THREADS={threads} python -m galcarto simulate_labelled_stars --settings {params.settings:q} "
            "--seed {params.seed} --output {output:q} > {log:q} 2>&1"

else:

    rule read_labelled_stars:
        """Read the table of stars with labels and clean it."""
        input:
            STARS.stars.path,
        output:
            f"{LABELS}/stars.parquet",
        log:
            f"{LABELS}/logs/read_labelled_stars.log",
        conda:
            "../envs/galcarto.yaml"
        resources:
            mem_mb=growing(8000),
            runtime=60,
        params:
            **stars_stage("read_labelled_stars"),
        shell:
            "python -m galcarto read_labelled_stars --settings {params.settings:q} "
            "--output {output:q} > {log:q} 2>&1"


rule train_labels:
    """Train a network from bands or colours to labels; an interrupted run resumes from its last checkpoint."""
    input:
        f"{LABELS}/stars.parquet",
    output:
        network=f"{LABELS}/network/{{training}}.pt",
        history=f"{LABELS}/network/{{training}}.csv",
    log:
        f"{LABELS}/logs/train_labels/{{training}}.log",
    benchmark:
        f"{LABELS}/benchmarks/train_labels/{{training}}.tsv"
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(STARS.training_job.mem_mb),
        runtime=STARS.training_job.runtime,
        gpu=STARS.training_job.gpus,
        slurm_extra="--signal=TERM@300",
    params:
        code=code_digest("train_labels"),
        settings=training_settings,
        seed=STARS.seed,
        features=STARS.features(),
        number=lambda wildcards: TRAININGS[wildcards.training][1],
        without=lambda wildcards: TRAININGS[wildcards.training][2],
        checkpoints=lambda wildcards: f"{LABELS}/network/checkpoints/{wildcards.training}",
    # exec: the signal would end a shell around the training, and with it the job
    shell:
        "export OMP_NUM_THREADS={threads}; exec python -m galcarto train_labels --settings {params.settings:q} "
        "--seed {params.seed} --stars {input:q} --features {params.features:q} --number {params.number} "
        "--without={params.without:q} --minutes {resources.runtime} --checkpoints {params.checkpoints:q} "
        "--network {output.network:q} --history {output.history:q} > {log:q} 2>&1"


rule predict_labels:
    """Predict the labels of all stars of the table with the network."""
    input:
        network=f"{LABELS}/network/network.pt",
        stars=f"{LABELS}/stars.parquet",
    output:
        f"{LABELS}/labels.parquet",
    log:
        f"{LABELS}/logs/predict_labels.log",
    benchmark:
        f"{LABELS}/benchmarks/predict_labels.tsv"
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        code=code_digest("predict_labels"),
    shell:
        "OMP_NUM_THREADS={threads} python -m galcarto predict_labels --network {input.network:q} "
        "--catalogue {input.stars:q} --corrected --output {output:q} > {log:q} 2>&1"


rule evaluate_labels:
    """Judge the networks on test stars, beside boosted trees, a cubic polynomial and the exact posterior."""
    input:
        stars=f"{LABELS}/stars.parquet",
        networks=expand(f"{LABELS}/network/{{training}}.pt", training=TRAININGS),
    output:
        evaluation=f"{LABELS}/evaluation.parquet",
        metrics=f"{LABELS}/metrics/labels.json",
    log:
        f"{LABELS}/logs/evaluate_labels.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=120,
    params:
        **stars_stage("evaluate_labels"),
        seed=STARS.seed,
        features=STARS.features(),
    shell:
        "export OMP_NUM_THREADS={threads} NUMBA_NUM_THREADS={threads}; python -m galcarto evaluate_labels "
        "--settings {params.settings:q} --seed {params.seed} --stars {input.stars:q} --features {params.features:q} "
        "--networks {input.networks:q} --evaluation {output.evaluation:q} --metrics {output.metrics:q} > {log:q} 2>&1"


rule map_metallicity:
    """Map the mean metallicity against R and |Z|, and against x, y and z."""
    input:
        f"{LABELS}/labels.parquet",
    output:
        map=f"{LABELS}/map.nc",
        metrics=f"{LABELS}/metrics/map.json",
    log:
        f"{LABELS}/logs/map_metallicity.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        **stars_stage("map_metallicity"),
        seed=STARS.seed,
        table=table_digest(STARS.galaxy.model),
    shell:
        "NUMBA_NUM_THREADS={threads} python -m galcarto map_metallicity --settings {params.settings:q} "
        "--seed {params.seed} --labels {input:q} --output {output.map:q} --metrics {output.metrics:q} > {log:q} 2>&1"


rule plot_labels:
    """Draw predicted against known labels, residuals, calibration, missing bands and gravities."""
    input:
        evaluation=f"{LABELS}/evaluation.parquet",
        metrics=f"{LABELS}/metrics/labels.json",
    output:
        [figure(name, f"{LABELS}/figures") for name in LABEL_FIGURES],
    log:
        f"{LABELS}/logs/plot_labels.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_labels"),
    shell:
        "python -m galcarto plot_labels --evaluation {input.evaluation:q} --metrics {input.metrics:q} "
        "--output {output:q} > {log:q} 2>&1"


rule plot_metallicity_map:
    """Draw the map of mean metallicity against R and |Z|."""
    input:
        f"{LABELS}/map.nc",
    output:
        figure("metallicity_map", f"{LABELS}/figures"),
    log:
        f"{LABELS}/logs/plot_metallicity_map.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_metallicity_map"),
    shell:
        "python -m galcarto plot_metallicity_map --map {input:q} --output {output:q} > {log:q} 2>&1"


if EXCESSES:

    rule compare_labels:
        """Compare the colour excess of the stars against distance with a cube's extinction."""
        input:
            stars=f"{LABELS}/stars.parquet",
            labels=f"{LABELS}/labels.parquet",
            cube=STARS.cube,
        output:
            comparison=f"{LABELS}/labels_cube.nc",
            metrics=f"{LABELS}/metrics/labels_cube.json",
        log:
            f"{LABELS}/logs/compare_labels.log",
        conda:
            "../envs/galcarto.yaml"
        resources:
            mem_mb=growing(4000),
            runtime=30,
        params:
            **stars_stage("compare_labels"),
            files=input_options,
        shell:
            "python -m galcarto compare_labels --settings {params.settings:q} {params.files} "
            "--comparison {output.comparison:q} --metrics {output.metrics:q} > {log:q} 2>&1"

    rule plot_label_profiles:
        """Draw the colour excess of the stars over the cube's profiles."""
        input:
            f"{LABELS}/labels_cube.nc",
        output:
            figure("label_profiles", f"{LABELS}/figures"),
        log:
            f"{LABELS}/logs/plot_label_profiles.log",
        conda:
            "../envs/galcarto.yaml"
        resources:
            mem_mb=growing(2000),
            runtime=15,
        params:
            code=code_digest("plot_label_profiles"),
        shell:
            "python -m galcarto plot_label_profiles --comparison {input:q} --output {output:q} > {log:q} 2>&1"


rule report_labels:
    """Collect the numbers of the task beside its goals, and write its report."""
    input:
        parts=[f"{LABELS}/metrics/labels.json", *([f"{LABELS}/metrics/map.json"] if MAPPED else [])]
        + [f"{LABELS}/metrics/labels_cube.json" for _ in EXCESSES],
        labels=f"{LABELS}/labels.parquet",
        figures=[
            f"{LABELS}/figures/{name}.png"
            for name in (*(["metallicity_map"] if MAPPED else []), *LABEL_FIGURES, *EXCESSES)
        ],
        captions=LABEL_CAPTIONS,
    output:
        metrics=f"{LABELS}/metrics.json",
        report=f"{LABELS}/report.html",
    log:
        f"{LABELS}/logs/report_labels.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("report_labels"),
        title=STARS.name,
    shell:
        "python -m galcarto report_labels --title {params.title:q} --parts {input.parts:q} --labels {input.labels:q} "
        "--figures {input.figures:q} --captions {input.captions:q} --metrics {output.metrics:q} "
        "--output {output.report:q} > {log:q} 2>&1"
