return function(args) return "hello " .. args.name end
