# Installation rules live here.
