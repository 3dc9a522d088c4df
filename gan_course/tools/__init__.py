"""Pour qui écrit le cours ou l'enseigne : exécuter, publier, distribuer, noter, refaire."""
