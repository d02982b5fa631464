@phase7
Feature: High availability: guests come back by themselves, and never run twice
  Golden guests, a container and a virtual machine, stand for all others: each counts, keeps its count on its disk and only
  then tells it. A node that is lost resets itself before its guests start elsewhere. Only when it must be dead is it powered
  off and on again, so that it comes back by itself.

  Background:
    Given every server is installed as a node
    And every node's network is configured
    And the nodes are one cluster
    And storage is ready
    And high availability is ready

  @criterion-4
  Scenario: Golden guests stand where every node reaches them
    Then each ordered guest is there, with the ordered hardware, storage and network
    And what virtual machines start from lies where every node reaches it

  @criterion-4
  Scenario: Golden guests live, each of them once
    Then each ordered guest answers on its own network, and its count rises
    And no count is told twice, and no guest runs twice

  @criterion-4
  Scenario: Guests are kept as ordered
    Then each ordered guest is kept running with the ordered patience, and none was given up
    And each ordered guest prefers the ordered nodes, and no other rule binds it

  Scenario: One node leads and every node obeys
    Then a node with a quorum leads
    And every node does its part, and none is in maintenance

  Scenario: A planned shutdown treats guests as ordered
    Then guests of a node that is shut down are treated by the ordered policy

  @criterion-4
  Scenario: A node that hangs resets itself
    Then on each node the ordered watchdog is in force
    And on each node the cluster's own service holds the watchdog and nobody else does

  @criterion-4
  Scenario: A lost node is powered off and on again once it is dead
    Then on each node the fencing service knows every node and its management controller
    And it never acts before a lost node's watchdog must have bitten
    And on each node the fencing service runs and starts at boot

  Scenario: High availability comes back by itself
    Then on each node the services of high availability run and start at boot

  Scenario: Nothing of high availability is left undone
    Then nothing that high availability orders is left undone
