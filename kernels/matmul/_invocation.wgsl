// The builtins of a lane, and the memory in which lanes that share a tile add up their sums: LANES
// tiles of SLICES lanes each.
struct Invocation {
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
//# if SUBGROUPS
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
//# end
}

//# if SLICES > 1 && !SUBGROUPS
var<workgroup> partial: array<f32, ${LANES * SLICES * TILE_R * W}>;
//# end

