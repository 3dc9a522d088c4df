"""La machinerie : rien à y apprendre, tout s'y appuie."""
