"""2MASS, the Two Micron All Sky Survey (Skrutskie et al. 2006, AJ 131, 1163)."""

from galcarto.surveys.survey import Band, Survey

# Wavelengths: isophotal, Cohen et al. 2003 (AJ 126, 1090). Error floors and ten-sigma magnitudes: they follow the
# median error per magnitude of the 86 460 point sources of Orion A (J 16.25: 0.099, 15.25: 0.045, 12: 0.024;
# Ks 14.75: 0.111, 13.75: 0.050, 11: 0.021 mag), half a magnitude deeper than the survey's guaranteed limits
# of 15.8, 15.1 and 14.3 mag. Half-completeness: where their counts turn over.
TWOMASS = Survey(
    name="2mass",
    title="2MASS",
    bands={
        "J": Band(wavelength=1.235, floor=0.024, ten_sigma=16.38, half=16.9, width=0.15),
        "H": Band(wavelength=1.662, floor=0.025, ten_sigma=15.46, half=16.1, width=0.15),
        "Ks": Band(wavelength=2.159, floor=0.021, ten_sigma=14.74, half=15.5, width=0.15),
    },
)
