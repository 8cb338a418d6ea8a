-- version.lua -- the version of this naq, as the build stamped it into the core.
return require("naq.core").VERSION
