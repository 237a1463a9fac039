# Network and images of the tiles -> cube and face-on view.
# in:  network/network.pt, sky/cmds.nc
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
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        code=code_digest("infer_sightlines"),
        settings=SETTINGS.section_json("sky", "tile", "inference"),
        seed=SEED,
    shell:
        "python -m galcarto infer_sightlines --settings {params.settings:q} --seed {params.seed} "
        "--network {input.network:q} --sky {input.sky:q} --strip {wildcards.strip} --output {output:q} "
        "> {log:q} 2>&1"


rule assemble_cube:
    """Assemble the published cube from the strips."""
    input:
        expand(f"{RESULTS}/sightlines/{{strip}}.nc", strip=STRIPS),
    output:
        f"{RESULTS}/cube.nc",
    log:
        f"{RESULTS}/logs/assemble_cube.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("assemble_cube"),
        settings=SETTINGS.section_json(
            *(
                name
                for name in type(SETTINGS).model_fields
                if name not in ("region", "seed", "training_job", "compare", "faceon", "validation")
            )
        ),
        seed=SEED,
        region=SETTINGS.region,
    shell:
        "python -m galcarto assemble_cube --settings {params.settings:q} --seed {params.seed} "
        "--region={params.region:q} --strips {input:q} --output {output:q} > {log:q} 2>&1"


rule project_faceon:
    """Project the cube onto the Galactic plane, seen from above."""
    input:
        f"{RESULTS}/cube.nc",
    output:
        f"{RESULTS}/faceon.nc",
    log:
        f"{RESULTS}/logs/project_faceon.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code_digest("project_faceon"),
        settings=SETTINGS.section_json("faceon"),
        seed=SEED,
    shell:
        "python -m galcarto project_faceon --settings {params.settings:q} --seed {params.seed} "
        "--cube {input:q} --output {output:q} > {log:q} 2>&1"
