# The forms in which the cube is published beside cube.nc.
# in:  cube.nc
# out: cube.zarr, cube_healpix.nc, cartesian.nc, footprint.moc.fits, cube.fits, cube_healpix.fits, cube_sightlines.fits


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
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        **stage("publish_zarr"),
    shell:
        "python -m galcarto {params.stage} --cube {input:q} --output {output:q} > {log:q} 2>&1"


use rule publish_zarr as publish_footprint with:
    """Write the footprint as a multi-order coverage map (MOC)."""
    output:
        FORMS["footprint"],
    log:
        f"{RESULTS}/logs/publish_footprint.log",
    resources:
        mem_mb=growing(1000),
        runtime=15,
    params:
        **stage("publish_footprint"),


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
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        **stage("publish_healpix"),
        seed=SEED,
    shell:
        "python -m galcarto {params.stage} --settings {params.settings:q} --seed {params.seed} "
        "--cube {input:q} --output {output:q} > {log:q} 2>&1"


use rule publish_healpix as publish_cartesian with:
    """Resample the density to cubic voxels that keep the extinction of each sightline."""
    output:
        FORMS["cartesian"],
    log:
        f"{RESULTS}/logs/publish_cartesian.log",
    resources:
        mem_mb=growing(4000),
        runtime=120,
    params:
        **stage("publish_cartesian"),


rule publish_fits:
    """Write the cube, its HEALPix form and its sightlines as FITS."""
    input:
        cube=f"{RESULTS}/cube.nc",
        healpix=FORMS["healpix"],
    output:
        image=f"{RESULTS}/cube.fits",
        pixels=f"{RESULTS}/cube_healpix.fits",
        sightlines=f"{RESULTS}/cube_sightlines.fits",
    log:
        f"{RESULTS}/logs/publish_fits.log",
    conda:
        "../envs/galcarto.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        **stage("publish_fits"),
    shell:
        "python -m galcarto {params.stage} --cube {input.cube:q} --healpix {input.healpix:q} --image {output.image:q} "
        "--pixels {output.pixels:q} --sightlines {output.sightlines:q} > {log:q} 2>&1"
