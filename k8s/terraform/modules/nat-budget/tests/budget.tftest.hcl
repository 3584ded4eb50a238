variables {
  nodes             = 60
  connections       = 64
  pictures_a_second = 200
  wait_s            = 30
}

run "a_run_that_downloads_has_a_port_for_every_picture_of_the_last_seconds" {
  assert {
    condition     = output.most_ports == 8192 # 64 + 200 * 30 = 6064
    error_message = "most_ports is ${output.most_ports}"
  }
  assert {
    condition     = output.addresses == 2 # 60 * 512 + 8192 = 38912: one would do
    error_message = "addresses is ${output.addresses}"
  }
}

run "servers_that_keep_connections_open_cost_little" {
  variables {
    pictures_a_second = 0
  }
  assert {
    condition     = output.most_ports == 1024 && output.fewest_ports == 512
    error_message = "ports are ${output.fewest_ports} to ${output.most_ports}"
  }
}

run "many_nodes_need_more_addresses" {
  variables {
    nodes = 300
  }
  assert {
    condition     = output.addresses == 3 # 300 * 512 + 8192 = 161792
    error_message = "addresses is ${output.addresses}"
  }
}

run "exactly_a_power_of_two_is_not_doubled" {
  variables {
    connections       = 4096
    pictures_a_second = 0
  }
  assert {
    condition     = output.most_ports == 4096
    error_message = "most_ports is ${output.most_ports}"
  }
}

run "what_no_address_can_give_is_refused" {
  command = plan
  variables {
    pictures_a_second = 3000
  }
  expect_failures = [output.most_ports]
}
