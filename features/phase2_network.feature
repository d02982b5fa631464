@phase2
Feature: Network: two links behave as one, and guests stay out of the host network
  Every node reaches the host network over both links at once, and guests have networks of their own.
  The configuration is changed in such a way that a mistake undoes itself.

  Background:
    Given every server is installed as a node
    And every node's network is configured

  Scenario: Both links form one bond
    Then on each node both ordered links are members of the bond in the ordered mode
    And both members have carrier and the bond is fully redundant

  Scenario: The host network stands directly on the bond
    Then each node has its host address on the host network of the bond and nowhere else
    And the configuration in force is the configuration on file

  Scenario: The guest bridge carries the guest networks and can never carry the host network
    Then each node's guest bridge carries exactly the guest networks, all tagged
    And no port of the guest bridge is a member of the host network

  Scenario: Full-size packets pass between all nodes unfragmented
    Then packets of full size pass between every pair of nodes over the host network without being fragmented

  Scenario: Every address belongs to one node only
    Then no other station answers for a node's address on the host network

  Scenario: Names resolve on every node
    Then every node resolves every other node's name to its ordered address

  @criterion-9
  Scenario Outline: A guest on <network> cannot reach the hosts
    Given a probe with an address on <network> on two nodes
    Then the two probes reach each other
    And the probe reaches no node's host address on any port, tagged, untagged or double-tagged

    Examples:
      | network |
      | vlan1   |
      | vlan2   |
      | vlan3   |
      | vlan4   |
      | vlan5   |

  Scenario: Nothing of the network is left undone
    Then nothing that the network orders is left undone

  @criterion-10 @load
  Scenario: The host network is fast
    Then the throughput between every pair of nodes is at least 150 Gbit/s

  @rollback
  Scenario: A wrong network configuration takes itself back
    When a configuration with a wrong host network is pushed to one node, chosen by the seed
    Then the node loses its address and within 2 minutes the former configuration is back by itself
