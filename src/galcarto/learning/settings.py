from galcarto.dustmap.settings import Training as Training
