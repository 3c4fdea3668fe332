# Umbrella targets: a program names lockstep::core, lockstep::loader or lockstep::torch, never a room.
foreach(component core loader torch)
  get_property(rooms GLOBAL PROPERTY LOCKSTEP_ROOMS_${component})
  add_library(lockstep_${component}_all INTERFACE)
  target_link_libraries(lockstep_${component}_all INTERFACE ${rooms})
  set_target_properties(lockstep_${component}_all PROPERTIES EXPORT_NAME ${component})
  add_library(lockstep::${component} ALIAS lockstep_${component}_all)
endforeach()
