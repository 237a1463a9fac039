# Faulty jobs for test_slurm.py.


include: "rules/common.smk"


rule lent:
    """Writes the GPU that it got."""
    output:
        "lent.txt",
    resources:
        mem_mb=500,
        runtime=5,
        gpu=1,
    shell:
        "echo $CUDA_VISIBLE_DEVICES > {output}"


rule slow:
    """Writes half of its output, and the rest only if there is a file 'go'."""
    output:
        "slow.txt",
    resources:
        mem_mb=500,
        runtime=5,
    shell:
        "echo half > {output}; test -e go || sleep 300; echo whole >> {output}"


rule hungry:
    """Takes 800 MB."""
    output:
        "hungry.txt",
    resources:
        mem_mb=growing(600),
        runtime=5,
    shell:
        "echo half > {output}; python -c 'import time; taken = bytes(1) * 800_000_000; time.sleep(5)'; "
        "echo whole >> {output}"


rule impossible:
    """Asks for more GPUs than there are."""
    output:
        "impossible.txt",
    resources:
        mem_mb=500,
        runtime=5,
        gpu=3,
    shell:
        "touch {output}"
