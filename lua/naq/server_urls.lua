-- server_urls.lua -- URLs of servers: nats://[user:password@]host[:port], one or several in a text, and as
-- they may be printed. Pure.
local server_urls = {}

-- A comma before the first @ of a URL that begins with a scheme belongs to its password.
local function split(text, into)
  local marked = text:gsub("[,%s]+(%a[%w+.-]*://)", "\n%1")
  for part in marked:gmatch("[^\n]+") do
    local user_info = part:match("^%s*%a[%w+.-]*://[^@]*@") or ""
    local first = true
    for item in part:sub(#user_info + 1):gmatch("[^,%s]+") do
      into[#into + 1] = first and user_info:gsub("^%s+", "") .. item or item
      first = false
    end
  end
  return into
end

--- The single URLs of a list, or of a text with commas, each with its scheme.
---@param urls string|string[]
---@return string[]
function server_urls.list(urls)
  local found = {}
  if type(urls) == "string" then urls = { urls } end
  for _, text in ipairs(urls) do
    split(text, found)
  end
  for i, url in ipairs(found) do
    found[i] = url:find("://", 1, true) and url or ("nats://" .. url)
  end
  return found
end

--- What is wrong with a list or a text of them, or nil. Does not repeat them: they may hold a password.
---@param urls string|string[]
---@return string?
function server_urls.problem(urls)
  local found = type(urls) == "string" and split(urls, {}) or urls
  if #found == 0 then return "must name at least one server" end
  for _, url in ipairs(found) do
    if url == "" or url:find("%s") then return "must be nats://[user:password@]host[:port]" end
  end
  return nil
end

--- One URL as it may be printed: `hidden` in place of what stands before its host, and only there. A
--- password may hold an @ of its own, so the last one counts.
---@param url string
---@param hidden string  "***@", or "" to leave no trace
function server_urls.public(url, hidden)
  local scheme, rest = url:match("^(%a[%w+.-]*://)(.*)$")
  rest = rest or url
  if not rest:find("@", 1, true) then return url end
  return (scheme or "") .. hidden .. rest:gsub("^.*@", "")
end

return server_urls
