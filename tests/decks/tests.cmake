# th_app DECK --check reads decks that are sound (those shipped too) and decks with mistakes; what
# to expect stands in each deck.
if(TARGET th_app)
  find_package(Python3 COMPONENTS Interpreter QUIET REQUIRED)
  function(th_add_deck_tests kind prefix folder)
    file(GLOB decks CONFIGURE_DEPENDS ${folder}/*.in)
    foreach(deck IN LISTS decks)
      get_filename_component(name ${deck} NAME_WE)
      add_test(NAME deck.${prefix}.${name}
        COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/check_deck.py ${kind}
          $<TARGET_FILE:th_app> ${deck})
      set_tests_properties(deck.${prefix}.${name} PROPERTIES LABELS deck TIMEOUT 180)
    endforeach()
  endfunction()
  th_add_deck_tests(good good ${CMAKE_CURRENT_LIST_DIR}/good)
  th_add_deck_tests(bad bad ${CMAKE_CURRENT_LIST_DIR}/bad)
  th_add_deck_tests(good shipped ${CMAKE_SOURCE_DIR}/inputs)
  th_add_deck_tests(good learning ${CMAKE_SOURCE_DIR}/inputs/learning)
  add_test(NAME deck.pairs_are_those_of_their_script
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/make_pairs.py --check)
  set_tests_properties(deck.pairs_are_those_of_their_script PROPERTIES LABELS deck)
endif()
