-- Holds the requests of sites that are paused, until they are not, or for so many seconds.
local sites = Map.new("/var/lib/haproxy-flaskops/maintenance.map", Map._str)

core.register_action("pause", {"http-req"}, function(txn, seconds)
  local site, ends = txn:get_var("txn.site"), core.now().sec + tonumber(seconds)
  while site and sites:lookup(site) == "pause" and core.now().sec < ends do
    core.msleep(50)
  end
end, 1)
