# Network and images of the tiles -> cube and face-on view.
# in:  network/network.pt, sky/cmds.nc, and the truth of a synthetic sky
# out: sightlines/{strip}.nc, cube.nc, faceon.nc


rule infer_sightlines:
    """Infer the posterior of every tile of a strip."""
    input:
        network=f"{RESULTS}/network/network.pt",
        sky=f"{RESULTS}/sky/cmds.nc",
    output:
        f"{RESULTS}/sightlines/{{strip}}.nc",
    log:
        f"{RESULTS}/logs/infer_sightlines/{{strip}}.log",
    conda:
        "../envs/galcarto.yaml"
    threads: SETTINGS.inference_job.threads
    resources:
        mem_mb=growing(SETTINGS.inference_job.mem_mb),
        runtime=SETTINGS.inference_job.runtime,
        gpu=SETTINGS.inference_job.gpus,
    params:
        **stage("infer_sightlines"),
        seed=SEED,
    shell:
        "python -m galcarto infer_sightlines --settings {params.settings:q} --seed {params.seed} "
        "--gpus {resources.gpu} --network {input.network:q} --sky {input.sky:q} --strip {wildcards.strip} --output {output:q} "
        "> {log:q} 2>&1"


rule check_sightlines:
    """Check the fit of each tile: posterior predictive p-value and mean predicted diagram."""
    input:
        posterior=f"{RESULTS}/sightlines/{{strip}}.nc",
        sky=f"{RESULTS}/sky/cmds.nc",
        stars=[f"{RESULTS}/stars/{name}.parquet" for name in SETTINGS.sightlines.names("train")],
        examples=examples("valid"),
        control=CONTROL,
    output:
        f"{RESULTS}/sightlines/{{strip}}_fit.nc",
    log:
        f"{RESULTS}/logs/check_sightlines/{{strip}}.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=60,
    params:
        **stage("check_sightlines"),
        table=GALAXY_TABLE,
        seed=SEED,
        control=option("control"),
    shell:
        "NUMBA_NUM_THREADS={threads} python -m galcarto check_sightlines --settings {params.settings:q} "
        "--seed {params.seed} {params.control} --strip {wildcards.strip} --posterior {input.posterior:q} "
        "--sky {input.sky:q} --stars {input.stars:q} --examples {input.examples:q} --output {output:q} "
        "> {log:q} 2>&1"


rule assemble_cube:
    """Assemble the published cube from the strips."""
    input:
        strips=expand(f"{RESULTS}/sightlines/{{strip}}.nc", strip=STRIPS),
        fits=expand(f"{RESULTS}/sightlines/{{strip}}_fit.nc", strip=STRIPS),
    output:
        f"{RESULTS}/cube.nc",
    log:
        f"{RESULTS}/logs/assemble_cube.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        **stage("assemble_cube"),
        seed=SEED,
        region=SETTINGS.region,
    shell:
        "python -m galcarto assemble_cube --settings {params.settings:q} --seed {params.seed} "
        "--region={params.region:q} --strips {input.strips:q} --fits {input.fits:q} --output {output:q} > {log:q} 2>&1"


rule project_faceon:
    """Project the cube onto the Galactic plane, seen from above."""
    input:
        cube=f"{RESULTS}/cube.nc",
        truth=[f"{RESULTS}/sky/truth.nc"] if SYNTHETIC else [],
    output:
        f"{RESULTS}/faceon.nc",
    log:
        f"{RESULTS}/logs/project_faceon.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=30,
    params:
        **stage("project_faceon"),
        seed=SEED,
        files=input_options,
    shell:
        "python -m galcarto project_faceon --settings {params.settings:q} --seed {params.seed} {params.files} "
        "--output {output:q} > {log:q} 2>&1"
