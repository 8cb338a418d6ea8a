-- A module that a sandboxed job may require; as a job file it defines nothing.
assert(not os or not os.execute or not sandboxed_only) -- luacheck: ignore
return { hello = function() return type(io) .. " " .. type(os and os.execute) end }
