# Examples -> network, and its scores on unseen examples.
# in:  cmds/{split}/{sightline}.nc
# out: network/network.pt, network/history.csv, comparisons/heldout.{nc,json}


rule train_network:
    """Train the network; an interrupted run resumes from its last checkpoint."""
    input:
        train=examples("train"),
        valid=examples("valid"),
    output:
        network=f"{RESULTS}/network/network.pt",
        history=f"{RESULTS}/network/history.csv",
    log:
        f"{RESULTS}/logs/train_network.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_network.tsv"
    conda:
        "../envs/galcarto.yaml"
    threads: SETTINGS.training_job.threads
    resources:
        mem_mb=growing(SETTINGS.training_job.mem_mb),
        runtime=SETTINGS.training_job.runtime,
        gpu=SETTINGS.training_job.gpus,
        # all GPUs on one node; SIGTERM 5 minutes before the time limit, where Slurm sends it to all of a job
        nodes=1,
        slurm_extra="--signal=TERM@300",
        workers=SETTINGS.training_job.workers,  # not a parameter: the result does not depend on it
    params:
        **stage("train_network"),
        seed=SEED,
        checkpoints=f"{RESULTS}/network/checkpoints",
    # exec: the signal would end a shell around the training, and with it the job
    shell:
        "exec python -m galcarto train_network --settings {params.settings:q} --seed {params.seed} "
        "--train {input.train:q} --valid {input.valid:q} --workers {resources.workers} --minutes {resources.runtime} "
        "--checkpoints {params.checkpoints:q} --network {output.network:q} --history {output.history:q} > {log:q} 2>&1"


rule evaluate_heldout:
    """Score the network on held-out sightlines and profiles."""
    input:
        network=f"{RESULTS}/network/network.pt",
        examples=examples("test"),
    output:
        comparison=f"{RESULTS}/comparisons/heldout.nc",
        metrics=f"{RESULTS}/comparisons/heldout.json",
    log:
        f"{RESULTS}/logs/evaluate_heldout.log",
    conda:
        "../envs/galcarto.yaml"
    threads: SETTINGS.inference_job.threads
    resources:
        mem_mb=growing(SETTINGS.inference_job.mem_mb),
        runtime=SETTINGS.inference_job.runtime,
        gpu=SETTINGS.inference_job.gpus,
    params:
        **stage("evaluate_heldout"),
        seed=SEED,
    shell:
        "python -m galcarto evaluate_heldout --settings {params.settings:q} --seed {params.seed} "
        "--gpus {resources.gpu} --network {input.network:q} --examples {input.examples:q} --comparison {output.comparison:q} "
        "--metrics {output.metrics:q} > {log:q} 2>&1"
