return function(_, job) return job.name end
