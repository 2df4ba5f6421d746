# README.md, docs/*.md and docs/notes/*.md: links, anchors, paths and keys are there, and every
# command runs.
# docs.NAME runs the ```sh blocks of a page, trainings shortened as the page says; docs.NAME_long
# (label long) runs them whole. pages.py tells how a block is marked.
find_package(Python3 COMPONENTS Interpreter QUIET)
if(Python3_FOUND AND TARGET th_app)
  set(docs_folder ${CMAKE_CURRENT_LIST_DIR})
  # th_add_docs_test(name script ARGUMENTS …)
  function(th_add_docs_test name script)
    add_test(NAME docs.${name}
      COMMAND ${Python3_EXECUTABLE} ${docs_folder}/${script} ${ARGN})
    set_tests_properties(docs.${name} PROPERTIES LABELS docs TIMEOUT 300)
  endfunction()
  th_add_docs_test(pages check_pages.py ${CMAKE_SOURCE_DIR} ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
  th_add_docs_test(pages_self_test check_pages.py --self-test)
  th_add_docs_test(run_page_self_test test_run_page.py)
  th_add_docs_test(pictures test_pictures.py)
  file(GLOB docs_pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/README.md
    ${CMAKE_SOURCE_DIR}/docs/*.md ${CMAKE_SOURCE_DIR}/docs/notes/*.md)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${docs_pages})
  foreach(page IN LISTS docs_pages)
    get_filename_component(name ${page} NAME_WLE)  # quickstart.zh.md is docs.quickstart.zh
    if(page MATCHES "/docs/notes/")
      set(name notes_${name})
    endif()
    file(STRINGS ${page} commands REGEX "^```sh")
    file(STRINGS ${page} trainings REGEX "^<!-- test: (long|run keys)")
    if(commands)
      th_add_docs_test(${name} run_page.py
        ${CMAKE_SOURCE_DIR} ${CMAKE_RUNTIME_OUTPUT_DIRECTORY} ${page})
      set_tests_properties(docs.${name} PROPERTIES PROCESSORS 2)
    endif()
    file(STRINGS ${page} translated REGEX "^<!-- test: same as ")
    if(trainings AND NOT translated)
      th_add_docs_test(${name}_long run_page.py
        ${CMAKE_SOURCE_DIR} ${CMAKE_RUNTIME_OUTPUT_DIRECTORY} ${page} --long)
      set_tests_properties(docs.${name}_long PROPERTIES LABELS long PROCESSORS 2 TIMEOUT 7200)
    endif()
  endforeach()
endif()
