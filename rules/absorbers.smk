# Damped Lyman-alpha absorbers in quasar spectra, a sister task: 'snakemake --cores 2 absorbers'. Its settings are a file
# of their own: config/absorbers.yaml, or that of '--config absorbers=config/my_absorbers.yaml'.
# in:  a model of quasars; real spectra, where there are some
# out: results/absorbers/network/*/*.pt, absorbers.parquet, metrics.json, figures/*, report.html


wildcard_constraints:
    part=r"\d{4}",
    sample=r"(train|valid)_\d+|" + "|".join(map(re.escape, ABSORBERS.mocks())),
    finding="|".join(map(re.escape, ["ours", *ABSORBERS.trials])),
    mock="|".join(map(re.escape, ABSORBERS.mocks())),
    shown="|".join(map(re.escape, ABSORBER_FIGURES)),


rule simulate_sightlines:
    """Make mock sightlines to quasars, with absorbers of known redshifts and column densities."""
    output:
        f"{ABSORBER_FOLDER}/sightlines/{{sample}}/{{part}}.nc",
    log:
        f"{ABSORBER_FOLDER}/logs/simulate_sightlines/{{sample}}_{{part}}.log",
    benchmark:
        f"{ABSORBER_FOLDER}/benchmarks/simulate_sightlines/{{sample}}_{{part}}.tsv"
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        code=code_digest("simulate_sightlines"),
        settings=sample_settings,
        seed=ABSORBERS.seed,
        number=sample_number,
        enriched=lambda wildcards: "--enriched" if wildcards.sample.startswith("train_") else "",
    shell:
        "OMP_NUM_THREADS={threads} python -m galcarto simulate_sightlines --settings {params.settings:q} "
        "--seed {params.seed} --stream {wildcards.sample}_{wildcards.part} --number {params.number} {params.enriched} "
        "--output {output:q} > {log:q} 2>&1"


rule train_absorbers:
    """Train a network that finds absorbers; an interrupted run resumes from its last checkpoint."""
    input:
        train=lambda wildcards: sample_files(f"train_{wildcards.number}"),
        valid=lambda wildcards: sample_files(f"valid_{wildcards.number}"),
    output:
        network=f"{ABSORBER_FOLDER}/network/{{finding}}/{{number}}.pt",
        history=f"{ABSORBER_FOLDER}/network/{{finding}}/{{number}}.csv",
    log:
        f"{ABSORBER_FOLDER}/logs/train_absorbers/{{finding}}_{{number}}.log",
    benchmark:
        f"{ABSORBER_FOLDER}/benchmarks/train_absorbers/{{finding}}_{{number}}.tsv"
    conda:
        "../envs/galcarto.yaml"
    threads: ABSORBERS.training_job.threads
    resources:
        mem_mb=growing(ABSORBERS.training_job.mem_mb),
        runtime=ABSORBERS.training_job.runtime,
        gpu=ABSORBERS.training_job.gpus,
        slurm_extra="--signal=TERM@300",
    params:
        code=code_digest("train_absorbers"),
        settings=finding_settings,
        seed=lambda wildcards: ABSORBERS.seed + int(wildcards.number),
        checkpoints=lambda wildcards: f"{ABSORBER_FOLDER}/network/checkpoints/{wildcards.finding}_{wildcards.number}",
    # exec: the signal would end a shell around the training, and with it the job
    shell:
        "export OMP_NUM_THREADS={threads}; exec python -m galcarto train_absorbers --settings {params.settings:q} "
        "--seed {params.seed} --minutes {resources.runtime} --train {input.train:q} --valid {input.valid:q} "
        "--checkpoints {params.checkpoints:q} --network {output.network:q} --history {output.history:q} > {log:q} 2>&1"


rule evaluate_absorbers:
    """Judge a network on mock sightlines that it never saw."""
    input:
        network=f"{ABSORBER_FOLDER}/network/{{finding}}/{{number}}.pt",
        sightlines=lambda wildcards: sample_files(wildcards.mock),
    output:
        metrics=f"{ABSORBER_FOLDER}/scores/{{finding}}/{{number}}/{{mock}}.json",
        found=f"{ABSORBER_FOLDER}/scores/{{finding}}/{{number}}/{{mock}}.parquet",
        drawn=f"{ABSORBER_FOLDER}/scores/{{finding}}/{{number}}/{{mock}}.nc",
    log:
        f"{ABSORBER_FOLDER}/logs/evaluate_absorbers/{{finding}}_{{number}}_{{mock}}.log",
    benchmark:
        f"{ABSORBER_FOLDER}/benchmarks/evaluate_absorbers/{{finding}}_{{number}}_{{mock}}.tsv"
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        code=code_digest("evaluate_absorbers"),
    shell:
        "OMP_NUM_THREADS={threads} python -m galcarto evaluate_absorbers --network {input.network:q} "
        "--sightlines {input.sightlines:q} --found {output.found:q} --drawn {output.drawn:q} "
        "--metrics {output.metrics:q} > {log:q} 2>&1"


rule compare_finder:
    """Compare the network with the Bayesian finder gp-dla-finder on the same sightlines."""
    input:
        network=f"{ABSORBER_FOLDER}/network/ours/0.pt",
        sightlines=sample_files("hard"),
    output:
        f"{ABSORBER_FOLDER}/finder.json",
    log:
        f"{ABSORBER_FOLDER}/logs/compare_finder.log",
    benchmark:
        f"{ABSORBER_FOLDER}/benchmarks/compare_finder.tsv"
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=240,
    params:
        code=code_digest("compare_finder"),
        number=ABSORBERS.finder,
    shell:
        "OMP_NUM_THREADS={threads} python -m galcarto compare_finder --network {input.network:q} "
        "--sightlines {input.sightlines:q} --number {params.number} --metrics {output:q} > {log:q} 2>&1"


rule find_absorbers:
    """Find absorbers in real spectra; in mock ones where there are none."""
    input:
        network=f"{ABSORBER_FOLDER}/network/ours/0.pt",
        spectra=REAL_SPECTRA or sample_files("hard")[:1],
    output:
        absorbers=f"{ABSORBER_FOLDER}/absorbers.parquet",
        sightlines=f"{ABSORBER_FOLDER}/absorbers_sightlines.parquet",
        drawn=f"{ABSORBER_FOLDER}/drawn.nc",
    log:
        f"{ABSORBER_FOLDER}/logs/find_absorbers.log",
    benchmark:
        f"{ABSORBER_FOLDER}/benchmarks/find_absorbers.tsv"
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        code=code_digest("find_absorbers"),
    shell:
        "OMP_NUM_THREADS={threads} python -m galcarto find_absorbers --network {input.network:q} "
        "--spectra {input.spectra:q} --output {output.absorbers:q} --drawn {output.drawn:q} > {log:q} 2>&1"


rule collect_absorbers:
    """Collect the numbers, beside the goals."""
    input:
        scores=SCORED,
        finder=f"{ABSORBER_FOLDER}/finder.json" if ABSORBERS.finder else [],
        real=f"{ABSORBER_FOLDER}/absorbers.parquet" if REAL_SPECTRA else [],
        catalogue=KNOWN_ABSORBERS,
    output:
        f"{ABSORBER_FOLDER}/metrics.json",
    log:
        f"{ABSORBER_FOLDER}/logs/collect_absorbers.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("collect_absorbers"),
        files=input_options,
    shell:
        "python -m galcarto collect_absorbers {params.files} --metrics {output:q} > {log:q} 2>&1"


rule plot_absorbers:
    """Draw a figure of the task."""
    input:
        lambda wildcards: [f"{ABSORBER_FOLDER}/{name}" for name in ABSORBER_FIGURES[wildcards.shown]],
    output:
        figure("{shown}", f"{ABSORBER_FOLDER}/figures"),
    log:
        f"{ABSORBER_FOLDER}/logs/plot_absorbers/{{shown}}.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("plot_absorbers"),
    shell:
        "python -m galcarto plot_absorbers --figure {wildcards.shown} --files {input:q} --output {output:q} > {log:q} 2>&1"


rule report_absorbers:
    """Write the report of the task."""
    input:
        metrics=f"{ABSORBER_FOLDER}/metrics.json",
        absorbers=f"{ABSORBER_FOLDER}/absorbers.parquet",
        figures=expand(f"{ABSORBER_FOLDER}/figures/{{shown}}.png", shown=ABSORBER_FIGURES),
        captions=expand("rules/absorber_captions/{shown}.rst", shown=ABSORBER_FIGURES),
    output:
        f"{ABSORBER_FOLDER}/report.html",
    log:
        f"{ABSORBER_FOLDER}/logs/report_absorbers.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_digest("report_absorbers"),
        files=input_options,
    shell:
        "python -m galcarto report_absorbers {params.files} --output {output:q} > {log:q} 2>&1"
