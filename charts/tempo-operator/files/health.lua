-- Argo CD's health of a TempoCluster. Goes into ConfigMap argocd-cm, key
-- resource.customizations.health.tempo-rs.dev_TempoCluster (the chart makes it with argocd.healthCheck.enabled).
local hs = { status = "Progressing", message = "waiting for tempo-operator" }
if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "draining before deletion"
  return hs
end
local st = obj.status
if st == nil or st.conditions == nil then
  return hs
end
if st.observedGeneration == nil or st.observedGeneration ~= obj.metadata.generation then
  hs.message = "generation not observed yet"
  return hs
end
local c = {}
for _, x in ipairs(st.conditions) do
  if x.observedGeneration == nil or x.observedGeneration == obj.metadata.generation then
    c[x.type] = x
  end
end
local function is(t, v)
  return c[t] ~= nil and c[t].status == v
end
if is("ReconciliationPaused", "True") then
  hs.status = "Suspended"
  hs.message = c.ReconciliationPaused.message
  return hs
end
for _, t in ipairs({ "Stalled", "DataAtRisk", "Degraded" }) do
  if is(t, "True") then
    hs.status = "Degraded"
    hs.message = t .. ": " .. (c[t].message or "")
    return hs
  end
end
if is("Ready", "True") then
  hs.status = "Healthy"
  hs.message = c.Ready.message
  return hs
end
if c.Progressing ~= nil then
  hs.message = (c.Progressing.reason or "") .. ": " .. (c.Progressing.message or "")
end
return hs
