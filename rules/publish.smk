# The forms in which the cube is published beside cube.nc.
# in:  cube.nc
# out: cube.zarr, cube_healpix.nc, cartesian.nc, footprint.moc.fits


rule publish_zarr:
    """Write the cube as a Zarr store."""
    input:
        f"{RESULTS}/cube.nc",
    output:
        directory(FORMS["zarr"]),
    log:
        f"{RESULTS}/logs/publish_zarr.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        code=code_digest("publish_zarr"),
    shell:
        "python -m galcarto publish_zarr --cube {input:q} --output {output:q} > {log:q} 2>&1"


rule publish_healpix:
    """Resample the cube to HEALPix pixels."""
    input:
        f"{RESULTS}/cube.nc",
    output:
        FORMS["healpix"],
    log:
        f"{RESULTS}/logs/publish_healpix.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        code=code_digest("publish_healpix"),
        settings=SETTINGS.for_stage("publish_healpix"),
        seed=SEED,
    shell:
        "python -m galcarto publish_healpix --settings {params.settings:q} --seed {params.seed} "
        "--cube {input:q} --output {output:q} > {log:q} 2>&1"


rule publish_cartesian:
    """Resample the cube's density to cubic voxels that keep each sightline's extinction."""
    input:
        f"{RESULTS}/cube.nc",
    output:
        FORMS["cartesian"],
    log:
        f"{RESULTS}/logs/publish_cartesian.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=120,
    params:
        code=code_digest("publish_cartesian"),
        settings=SETTINGS.for_stage("publish_cartesian"),
        seed=SEED,
    shell:
        "python -m galcarto publish_cartesian --settings {params.settings:q} --seed {params.seed} "
        "--cube {input:q} --output {output:q} > {log:q} 2>&1"


rule publish_footprint:
    """Write the footprint as a multi-order coverage map (MOC)."""
    input:
        f"{RESULTS}/cube.nc",
    output:
        FORMS["footprint"],
    log:
        f"{RESULTS}/logs/publish_footprint.log",
    conda:
        "../envs/galcarto.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=15,
    params:
        code=code_digest("publish_footprint"),
    shell:
        "python -m galcarto publish_footprint --cube {input:q} --output {output:q} > {log:q} 2>&1"
